"""`turnmix runs`: a directory in; what lies below it out: runs, evaluations, sweeps, and what goes on with them."""

from __future__ import annotations

import os

from turnmix.analysis.table import Cell, Column, Share, Table
from turnmix.core.json_text import json_text
from turnmix.core.printable import printable_line
from turnmix.core.terminal import write_output
from turnmix.running.run_listing import ListedRun, list_runs
from turnmix.viewing.analysis_tables import print_table
from turnmix.viewing.console import make_console, say

MOST_COMMANDS = 10


def show_runs(directory: str, *, is_json: bool) -> None:
    """Print them. Raises UserError: there is no such directory."""
    found = list_runs(directory)
    if is_json:
        write_output(json_text([each.to_json() for each in found], indent=2) + "\n")
        return
    console = make_console()
    print_table(console, _table(directory, found))
    console.print()
    for each in found:
        if each.problem is not None:
            say(console, printable_line(f"WARNING: {each.problem}"), indent=2, style="bold yellow")
    # What goes on with a sweep goes on with its runs.
    swept = {each.path for each in found if each.kind == "sweep" and each.command is not None}
    commands = [each.command for each in found if each.command is not None and each.path.parent not in swept]
    for command in commands[:MOST_COMMANDS]:
        say(console, printable_line(f"Go on: {command}"))
    if len(commands) > MOST_COMMANDS:
        say(console, f"… and {len(commands) - MOST_COMMANDS} more that stopped")


def _table(directory: str, found: list[ListedRun]) -> Table:
    return Table(
        name="runs",
        title=f"{len(found)} below {directory}: runs, evaluations and sweeps",
        columns=(
            Column(title="directory"),
            Column(title="method"),
            Column(title="seed"),
            Column(title="done"),
            Column(title="resolved", unit="share"),
            Column(title="state"),
        ),
        rows=tuple(_row(each, os.path.relpath(each.path, directory)) for each in found),
    )


def _row(each: ListedRun, path: str) -> tuple[Cell, ...]:
    has_figures = each.resolved is not None and each.tasks is not None
    return (
        path,
        each.method or "–",
        each.seed,
        _done(each),
        Share(count=each.resolved, of=each.tasks) if has_figures else None,  # type: ignore[arg-type]
        each.state,
    )


def _done(each: ListedRun) -> str:
    if each.kind == "evaluation":
        return "evaluation"
    return "–" if each.done is None or each.of is None else f"{each.done} of {each.of}"
