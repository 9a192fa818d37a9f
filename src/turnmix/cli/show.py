"""`turnmix show`: the figures of a run, or of an evaluation, and some of its trajectories; or one as a transcript."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.trajectory import StopReason
from turnmix.gateway.scaffolds.log import FOLDER
from turnmix.recipe.mistakes import nearest
from turnmix.store.evaluation_directory import RESULTS
from turnmix.store.lock import is_locked
from turnmix.store.place import resume_command
from turnmix.store.record_files import read_evaluation, read_results, read_summary
from turnmix.store.run_directory import EVALUATION, SUMMARY, RunDirectory
from turnmix.viewing.console import make_console, print_warnings, say
from turnmix.viewing.report import (
    duration_text,
    evaluation_lines,
    stage_name,
    summary_table,
    untaught_text,
    usage_table,
)
from turnmix.viewing.run_warnings import run_warnings, tool_fault_warnings
from turnmix.viewing.trajectory_choice import Choice, Row, fair_sample, shortened
from turnmix.viewing.transcript import Part, transcript
from turnmix.viewing.workers_table import workers_table

SHOWN = 8
"""Trajectories listed of each kind."""
MOST_LISTED = 50
"""Of those that were asked for."""
GAP = 2
EVERYTHING = Choice()
STYLES: dict[Part, str] = {
    "head": "bold",
    "student": "bold blue",
    "teacher": "bold magenta",
    "accident": "bold yellow",
    "action": "default",
    "label": "magenta",
    "observation": "default",
    "problem": "bold red",
    "text": "default",
}


def show_run(path: str, choice: Choice = EVERYTHING, *, limit: int | None = None) -> None:
    """Print the figures of a run or an evaluation, and a sample of its newest trajectories; or `limit` of those that
    `choice` holds.

    Raises:
        UserError: there is no run, or nothing can be listed.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: list 1 trajectory or more")
    if choice.stop_reason is not None and choice.stop_reason not in set(StopReason):
        reasons = [reason.value for reason in StopReason]
        raise UserError(
            f"--stop-reason {choice.stop_reason}: use one of {', '.join(reasons)}{nearest(choice.stop_reason, reasons)}"
        )
    if not choice.is_all:
        _show_chosen(path, choice, limit=limit or MOST_LISTED)
        return
    with closing(RunDirectory.read(Path(path))) as run:
        console = make_console()
        summary_path = run.path / SUMMARY
        state = "being written" if is_locked(run.path) else "not complete"
        if (run.path / EVALUATION).is_file():
            state = "an evaluation"
            _show_evaluation(console, run.path)
        elif summary_path.is_file():
            summary = read_summary(summary_path, fix=f"delete it, and go on with: {resume_command(run.path)}")
            state = "complete" if summary["is_complete"] else state
            took = duration_text(summary["wall_seconds"])
            heading = f"{path}: {summary['method']}, seed {summary['seed']}, {state}, {took}"
            tables = [summary_table(summary), usage_table(summary), workers_table(summary)]
            warnings, untaught = run_warnings(summary), untaught_text(summary)
            say(console, f"{printable_line(heading)}\n")
            for table in filter(None, tables):
                console.print(table)
                console.print()
            print_warnings(console, warnings)
            if untaught:
                say(console, printable_line(untaught))
                console.print()
        else:
            say(console, f"{printable_line(path)}: no stage has finished yet, {state}\n")
        for title, log in (("rollouts", run.trajectories), ("evaluations", run.evaluations)):
            if not len(log):
                continue
            rows = [Row.of(trajectory) for trajectory in log.read(log.ids_of(log.batches[-1]))]
            sample = fair_sample(rows, limit or SHOWN)
            resolved = sum(row.outcome == "resolved" for row in rows)
            of = f" of {stage_name(rows[0].iteration)}" if summary_path.is_file() else ""
            in_proportion = ", a sample" if len(sample) < len(rows) else ""
            console.print(
                f"{len(sample):,} of the {len(rows):,} {title}{of}{in_proportion}: {resolved:,} resolved",
                style="bold",
            )
            console.print(_listing(sample, width=console.width))
            console.print()
        if state == "not complete":
            say(console, printable_line(f"Go on with it: {resume_command(run.path)}"))
        say(console, printable_line(f"Read one: turnmix show {path} TRAJECTORY"))
        say(console, printable_line(f"List others: turnmix show {path} --unresolved (and --help for more)"))


def _show_chosen(path: str, choice: Choice, *, limit: int) -> None:
    with closing(RunDirectory.read(Path(path))) as run:
        console = make_console()
        found = 0
        for title, log in (("rollouts", run.trajectories), ("evaluations", run.evaluations)):
            ids = [member for batch in log.batches for member in log.ids_of(batch)]
            rows = [row for trajectory in log.read(ids) if choice.holds(row := Row.of(trajectory))]
            found += len(rows)
            if not rows:
                continue
            sample = fair_sample(rows, limit)
            more = (
                f", a sample of {len(sample):,}: --limit {len(rows)} lists all"
                if len(sample) < len(rows)
                else ""
            )
            console.print(f"{len(rows):,} of {len(log):,} {title}{more}", style="bold")
            console.print(_listing(sample, width=console.width))
            console.print()
        if found:
            say(console, printable_line(f"Read one: turnmix show {path} TRAJECTORY"))
        else:
            number = len(run.trajectories) + len(run.evaluations)
            say(console, printable_line(f"None of the {number:,} trajectories in {path}."))


def _show_evaluation(console: Console, path: Path) -> None:
    subject = read_evaluation(path / EVALUATION, fix="evaluate it again, in another directory")
    results = path / RESULTS
    figures = read_results(results) if results.is_file() else None
    state = "not complete" if figures is None else "complete"
    heading = f"{path}: {subject['student']}, evaluated by {subject.get('recipe')}, {state}"
    say(console, f"{printable_line(heading)}\n")
    if figures is not None:
        for line in evaluation_lines(figures):
            say(console, printable_line(line))
        print_warnings(console, tool_fault_warnings([figures]))
        console.print()


def show_trajectory(path: str, trajectory_id: str, *, is_full: bool) -> None:
    """Print one transcript. Raises UserError: there is no such run or trajectory."""
    with closing(RunDirectory.read(Path(path))) as run:
        logs = (run.trajectories, run.evaluations)
        found = next((log for log in logs if trajectory_id in log), None)
        if found is None:
            known = [member for log in logs for member in log.ids]
            close = difflib.get_close_matches(trajectory_id, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"`turnmix show {path}` lists some"
            raise UserError(f"no trajectory {trajectory_id!r} in {path}: {hint}")
        (trajectory,) = found.read([trajectory_id])
        log = run.path / FOLDER / f"{trajectory.id}.log"
    console = make_console()
    for line in transcript(trajectory, width=min(console.width, 100), is_full=is_full):
        console.print(Text(line.text, style=STYLES[line.part]), soft_wrap=True)
    if log.is_file() and not log.is_symlink():
        say(console, printable_line(f"What its scaffold printed: {log}"))


def _listing(rows: Iterable[Row], *, width: int) -> Table:
    titles = ("trajectory", "task", "turns", "teacher", "stopped by", "verdict")
    cells = [
        (
            shortened(printable_line(row.id), width // 2),
            printable_line(row.task_id),
            str(row.num_turns),
            str(row.num_teacher_turns),
            row.stop_reason,
            row.outcome,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [titles, *cells]) for column in range(len(titles))]
    left_for_task = width - sum(widths) - GAP * (len(titles) - 1) + widths[1]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for title in titles:
        table.add_column(title, justify="right" if title in ("turns", "teacher") else "left", no_wrap=True)
    for identifier, task, *others in cells:
        table.add_row(*map(Text, (identifier, shortened(task, max(left_for_task, 8)), *others)))
    return table
