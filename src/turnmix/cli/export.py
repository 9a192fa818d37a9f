"""`turnmix export`. In: a run. Out: what it holds, in a form that other programs read."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.trajectory import Trajectory
from turnmix.exchange.export import Exported, export_inspect, export_messages
from turnmix.recipe.recipe import stored_recipe
from turnmix.store.place import RECIPE
from turnmix.viewing.console import make_console, say, say_note
from turnmix.viewing.run_warnings import reasons_text
from turnmix.viewing.trajectory_choice import Choice, Row

_ENDINGS = {"messages": ".messages.jsonl", "inspect": ".inspect", "model": ".model"}
_ONLY = {
    "labels": ("messages",),
    "evaluations": ("messages",),
    "resolved": ("messages", "inspect"),
    "unresolved": ("messages", "inspect"),
    "adapter": ("model",),
}


def export(options: argparse.Namespace) -> None:
    """Write what is asked for, and say where it lies.

    Raises:
        UserError: an option does not fit the form, there is no run, or nothing is to be written.
    """
    form, run = options.to, Path(options.run)
    for name, forms in _ONLY.items():
        if getattr(options, name) and form not in forms:
            raise UserError(f"--{name}: is for --to {' and '.join(forms)}: leave it out, or export that")
    output = Path(options.output or f"{run.resolve().name}{_ENDINGS[form]}")
    console = make_console()
    if form == "model":
        from turnmix.running.model_export import export_model

        path = export_model(run, output, iteration=options.iteration, is_adapter=options.adapter)
        say(console, printable_line(f"The model lies in {path}"))
        return
    choice = Choice(
        is_resolved=True if options.resolved else False if options.unresolved else None,
        iteration=options.iteration,
    )

    def holds(trajectory: Trajectory) -> bool:
        return choice.is_all or choice.holds(Row.of(trajectory))

    if form == "messages":
        done = export_messages(
            run, output, holds=holds, of_labels=options.labels, of_evaluations=options.evaluations
        )
        say(console, printable_line(f"{_rows_of(done, of_labels=options.labels)} in {done.path}"))
        _tell_left_out(done)
        return
    model, tasks = _called(run)
    done = export_inspect(run, output, model=model, tasks=tasks, holds=holds)
    say(console, printable_line(f"{done.number:,} logs in {done.path}"))
    say(console, printable_line(f"Look at them: inspect view --log-dir {shlex.quote(str(done.path))}"))


def _rows_of(done: Exported, *, of_labels: bool) -> str:
    if of_labels:
        return f"{done.number:,} labels, each with its state,"
    if done.number == done.num_trajectories:
        return f"{done.number:,} trajectories"
    return f"{done.number:,} lines of turns of {done.num_trajectories:,} trajectories"


def _tell_left_out(done: Exported) -> None:
    if done.left_out:
        say_note(f"labels that no student should learn are left out: {reasons_text(done.left_out)}")


def _called(run: Path) -> tuple[str, str]:
    """What the student and the tasks of a run are called."""
    if not (run / RECIPE).is_file():
        return "student", "tasks"  # it is no run, which is told where it is opened
    recipe = stored_recipe(run / RECIPE)
    return recipe.student.model, recipe.tasks.source
