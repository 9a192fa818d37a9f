"""`turnmix evaluate`: a run, a checkpoint, a model, an endpoint or a teacher in; resolved k of n out, with interval."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from turnmix.cli.arguments import names_and_overrides
from turnmix.core.printable import printable_line
from turnmix.environments.repositories.predictions import PREDICTIONS
from turnmix.running.evaluation import Evaluation, evaluate_target
from turnmix.running.given_recipe import GivenRecipe
from turnmix.store.place import RECIPE
from turnmix.viewing.console import ConsoleReporter, make_console, print_warnings, say
from turnmix.viewing.report import evaluation_lines
from turnmix.viewing.run_warnings import tool_fault_warnings


def evaluate(target: str, *, words: Sequence[str], output: str | None) -> None:
    """Evaluate, or go on with it, and print.

    Raises:
        UserError: it cannot be evaluated, or its directory holds something else.
        TurnMixError: it failed, or was stopped; the message says that the same command goes on.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    given = GivenRecipe.of(names[0]) if names else None
    reporter = ConsoleReporter()
    done = evaluate_target(target, given=given, overrides=overrides, output=output, reporter=reporter)
    _tell(make_console(), done)


def _tell(console: Console, done: Evaluation) -> None:
    for line in evaluation_lines(done.figures):
        console.print(printable_line(line))
    print_warnings(console, tool_fault_warnings([done.figures]))
    if done.num_found:
        made = "and not made now" if done.is_made_here else "which was not made by you on this machine"
        told = f"{done.num_found} of {done.num_tasks} trajectories and their verdicts were found in {done.path}, {made}"
        say(console, printable_line(f"{told}: --output makes all anew in another directory"))
    if done.num_patches is not None:
        path = done.path / PREDICTIONS
        grading = f"turnmix grade {path} {done.path / RECIPE}"
        say(console, printable_line(f"{done.num_patches} patches in {path}: {grading}"))
    say(console, printable_line(f"Look at trajectories: turnmix show {done.path}"))
