"""A report of runs: one HTML file, and its plots as files of their own.

In: the directories of runs and evaluations, or of a sweep. Out: the files. Nothing that a recipe names is imported, and
what the runs' makers and agents wrote is shown as text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from turnmix.analysis.instruments import tables_of
from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import open_regular
from turnmix.core.errors import UserError
from turnmix.running.comparing import Compared, compare_sweep
from turnmix.running.comparing_runs import compare_runs
from turnmix.running.comparison_file import comparison_in
from turnmix.running.sweep_arms import run_name
from turnmix.store.place import RECIPE
from turnmix.store.sweep_directory import holds_sweep
from turnmix.viewing.page.analysis_plots import AnalysedRun, analysis_plots
from turnmix.viewing.page.comparison_plots import comparison_plots
from turnmix.viewing.page.document import MARK, ComparisonSummary, Contents, page
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
    given = list(dict.fromkeys(paths))
    runs = read_runs([run for path in given for run in _runs_at(path)])
    compared = _compared(given)
    analysed = [AnalysedRun(name=run.name, analyses=run.analyses) for run in runs]
    drawn = [
        *comparison_plots([] if compared is None else compared.outcomes),
        *run_plots(runs),
        *analysis_plots(analysed),
    ]
    records, sets, left_out = _records(runs)
    contents = Contents(
        title=", ".join(map(str, given)),
        runs=runs,
        plots=drawn,
        tables=[
            *([] if compared is None else compared.tables()),
            *tables_of([each for run in runs for each in run.analyses]),
        ],
        records=records,
        sets=sets,
        left_out=left_out,
        comparison=None if compared is None or compared.record is None else _comparison(compared),
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


def _runs_at(path: Path) -> list[Path]:
    """A run, or those of a sweep that have begun: the arms beside each other, seed by seed."""
    if not holds_sweep(path):
        return [path]
    comparison = comparison_in(path)
    runs = [path / run_name(arm, seed) for seed in comparison.seeds for arm in comparison.arms]
    begun = [run for run in runs if (run / RECIPE).is_file()]
    if not begun:
        raise UserError(f"{path}: none of its {len(runs)} runs has begun: `turnmix sweep` goes on with it")
    return begun


def _compared(given: Sequence[Path]) -> Compared | None:
    """None: there is nothing to compare, or it cannot be compared, which `turnmix compare` tells the reason of."""
    try:
        if len(given) == 1 and holds_sweep(given[0]):
            return compare_sweep(given[0])
        return compare_runs(given) if len(given) > 1 else None
    except UserError:
        return None


def _comparison(compared: Compared) -> ComparisonSummary:
    decision = "" if compared.decision is None else compared.decision.line
    return ComparisonSummary(heading=compared.heading, decision=decision)


def _records(runs: Sequence[ReportedRun]) -> tuple[TrajectoryRecords, list[str], str]:
    """Trajectories, newest batches first; the sets' names; and what was left out, in a sentence."""
    records = TrajectoryRecords()
    sets = [(place, each) for place, run in enumerate(runs) for each in run.sets]
    names = list(dict.fromkeys(each.name for _, each in sets))
    chosen = selected([each.log for _, each in sets])
    for (place, each), ids in zip(sets, chosen):
        for trajectory in each.log.read(ids):
            mode = each.modes.get(trajectory.id)
            records.add(
                trajectory,
                run=place,
                kind=names.index(each.name),
                within=runs[place].name,
                mode=None if mode is None else mode.value,
            )
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
