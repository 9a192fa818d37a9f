"""`turnmix show`: a run's table and some of its trajectories, or one trajectory as a transcript."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from rich.table import Table
from rich.text import Text

from turnmix.cli.console import make_console
from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory
from turnmix.report import duration_text, summary_table
from turnmix.store.run_directory import RunDirectory
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
    """Print the run's table and its latest trajectories. Raises UserError: there is no run."""
    with closing(RunDirectory.read(Path(path))) as run:
        console = make_console()
        summary_path = run.path / "summary.json"
        if summary_path.is_file():
            summary = json.loads(summary_path.read_text())
            state = "complete" if summary["is_complete"] else "not complete"
            took = duration_text(summary["wall_seconds"])
            console.print(
                f"{path}: {summary['method']}, seed {summary['seed']}, {state}, {took}\n", markup=False
            )
            console.print(summary_table(summary))
            console.print()
        else:
            console.print(f"{path}: no stage has finished yet\n", markup=False)
        for title, log in (("rollouts", run.trajectories), ("evaluations", run.evaluations)):
            if len(log):
                console.print(f"last {min(SHOWN, len(log))} of {len(log):,} {title}", style="bold")
                console.print(_listing(log.read(log.ids[-SHOWN:])))
                console.print()
        console.print(f"Read one: turnmix show {path} TRAJECTORY", markup=False)


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
