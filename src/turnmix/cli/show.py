"""`turnmix show`: the figures of a run, or of an evaluation, and some of its trajectories; or one as a transcript."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnmix.cli.console import make_console, print_warnings
from turnmix.core.errors import UserError
from turnmix.core.json_text import read_json_file
from turnmix.core.trajectory import Trajectory
from turnmix.report import duration_text, evaluation_lines, summary_table, untaught_text
from turnmix.run_warnings import run_warnings
from turnmix.store.evaluation_directory import RESULTS
from turnmix.store.lock import is_locked
from turnmix.store.run_directory import EVALUATION, SUMMARY, RunDirectory, resume_command
from turnmix.transcript import Part, outcome, printable, transcript

SHOWN = 8
"""Trajectories listed of each kind."""
STYLES: dict[Part, str] = {
    "head": "bold",
    "student": "bold blue",
    "teacher": "bold magenta",
    "action": "default",
    "label": "magenta",
    "observation": "default",
    "problem": "bold red",
    "text": "default",
}


def show_run(path: str) -> None:
    """Print the figures of a run or an evaluation, and its latest trajectories. Raises UserError: there is none."""
    with closing(RunDirectory.read(Path(path))) as run:
        console = make_console()
        summary_path = run.path / SUMMARY
        state = "being written" if is_locked(run.path) else "not complete"
        if (run.path / EVALUATION).is_file():
            state = "an evaluation"
            _show_evaluation(console, run.path)
        elif summary_path.is_file():
            summary = read_json_file(
                summary_path, fix=f"delete it, and go on with: {resume_command(run.path)}"
            )
            state = "complete" if summary["is_complete"] else state
            took = duration_text(summary["wall_seconds"])
            console.print(
                f"{path}: {summary['method']}, seed {summary['seed']}, {state}, {took}\n", markup=False
            )
            console.print(summary_table(summary))
            console.print()
            print_warnings(console, run_warnings(summary))
            if untaught := untaught_text(summary):
                console.print(untaught, soft_wrap=True)
                console.print()
        else:
            console.print(f"{path}: no stage has finished yet, {state}\n", markup=False)
        for title, log in (("rollouts", run.trajectories), ("evaluations", run.evaluations)):
            if len(log):
                console.print(f"last {min(SHOWN, len(log))} of {len(log):,} {title}", style="bold")
                console.print(_listing(log.read(log.ids[-SHOWN:])))
                console.print()
        if state == "not complete":
            console.print(f"Go on with it: {resume_command(run.path)}", markup=False, soft_wrap=True)
        console.print(f"Read one: turnmix show {path} TRAJECTORY", markup=False)


def _show_evaluation(console: Console, path: Path) -> None:
    subject = json.loads((path / EVALUATION).read_text(encoding="utf-8"))
    results = path / RESULTS
    figures = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else None
    state = "not complete" if figures is None else "complete"
    console.print(
        f"{path}: {subject['student']}, evaluated by {subject['recipe']}, {state}\n",
        markup=False,
        soft_wrap=True,
    )
    if figures is not None:
        for line in evaluation_lines(figures):
            console.print(line, markup=False)
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
    console = make_console()
    for line in transcript(trajectory, width=min(console.width, 100), is_full=is_full):
        console.print(Text(line.text, style=STYLES[line.part]), soft_wrap=True)


def _listing(trajectories: Iterable[Trajectory]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("trajectory", "task"):
        table.add_column(title, overflow="ellipsis", no_wrap=True)
    table.add_column("turns", justify="right")
    table.add_column("teacher", justify="right")
    table.add_column("stopped by")
    table.add_column("verdict")
    for trajectory in trajectories:
        teacher = sum(turn.actor == "teacher" for turn in trajectory.turns)
        table.add_row(
            Text(trajectory.id),
            Text(printable(trajectory.task_id)),
            str(len(trajectory.turns)),
            str(teacher),
            trajectory.stop_reason.value,
            outcome(trajectory.verdict),
        )
    return table
