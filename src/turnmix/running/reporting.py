"""A report of runs: one HTML file, and its plots as files of their own.

In: the directories of runs and evaluations. Out: the files. Nothing that a recipe names is imported, and what the runs'
makers and agents wrote is shown as text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import open_regular
from turnmix.core.errors import UserError
from turnmix.viewing.page.document import MARK, Contents, page
from turnmix.viewing.page.plot import write_plot
from turnmix.viewing.page.records import LONGEST_TEXT, TrajectoryRecords
from turnmix.viewing.page.reported_run import ReportedRun, read_runs
from turnmix.viewing.page.run_plots import run_plots
from turnmix.viewing.page.selection import selected

ANOTHER = "name another file with --output"


def write_report(paths: Sequence[Path], *, output: Path, plots: Path | None = None) -> Path:
    """Write the report of `paths` to `output`, and its plots into the directory `plots`.

    Raises:
        UserError: a path holds no run, a run is damaged, or `output` is no place for a report.
    """
    check_output(output)
    if plots is not None and plots.exists() and not plots.is_dir():
        raise UserError(f"--plots {plots}: it is no directory: name another one")
    runs = read_runs(list(dict.fromkeys(paths)))
    drawn = list(run_plots(runs))
    records, sets, left_out = _records(runs)
    contents = Contents(
        title=", ".join(run.name for run in runs),
        runs=runs,
        plots=drawn,
        tables=(),
        records=records,
        sets=sets,
        left_out=left_out,
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, page(contents, written=datetime.now()))
        if plots is not None:
            plots.mkdir(parents=True, exist_ok=True)
            for plot in drawn:
                write_plot(plot, plots)
    except OSError as error:
        where = error.filename or output
        raise UserError(f"{where} cannot be written ({error.strerror}): {ANOTHER}") from error
    return output


def check_output(output: Path) -> None:
    """Raises UserError: what is there is no report, which is never written over."""
    if output.is_dir():
        raise UserError(
            f"--output {output}: it is a directory: name a file, such as {output / 'report.html'}"
        )
    if not os.path.lexists(output):
        return
    try:
        with open_regular(output, follows_link=False) as file:
            is_report = file.read(len(MARK.encode())) == MARK.encode()
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}: {ANOTHER}") from error
    if not is_report:
        raise UserError(f"--output {output}: a file that is no report is there: {ANOTHER}, or delete it")


def _records(runs: Sequence[ReportedRun]) -> tuple[TrajectoryRecords, list[str], str]:
    """Trajectories, newest batches first; the sets' names; and what was left out, in a sentence."""
    records = TrajectoryRecords()
    sets = [(place, each) for place, run in enumerate(runs) for each in run.sets]
    names = list(dict.fromkeys(each.name for _, each in sets))
    chosen = selected([each.log for _, each in sets])
    for (place, each), ids in zip(sets, chosen):
        for trajectory in each.log.read(ids):
            records.add(trajectory, run=place, kind=names.index(each.name), within=runs[place].name)
    held = sum(len(each.log) for _, each in sets)
    told = []
    if len(records) < held:
        told.append(
            f"{len(records):,} of the {held:,} trajectories are in this file, of each batch a sample in which each "
            "outcome has its share: `turnmix show` lists all."
        )
    if records.num_cut:
        told.append(
            f"{records.num_cut:,} texts of more than {LONGEST_TEXT:,} characters are shown by their beginning and "
            "their end: `turnmix show RUN TRAJECTORY --full` shows them whole."
        )
    return records, names, " ".join(told)
