"""`turnmix train`: a recipe in, a run directory out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from turnmix.assembly.machine import check_machine
from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import TurnMixError, UserError
from turnmix.core.printable import printable_line
from turnmix.core.terminal import write_output
from turnmix.recipe.recipe import Recipe, load_recipe
from turnmix.running.given_recipe import GivenRecipe
from turnmix.running.run_choice import resumed_recipe
from turnmix.running.training import begin_run, resume_run
from turnmix.store.place import gateway_command
from turnmix.viewing.console import ConsoleReporter, make_console, print_warnings, say_note
from turnmix.viewing.report import (
    control_text,
    drift_text,
    duration_text,
    summary_table,
    untaught_text,
    usage_table,
)
from turnmix.viewing.run_warnings import run_warnings


def train(
    *,
    words: Sequence[str],
    run: str | None,
    resume: str | None,
    printed: Callable[[Recipe], str] | None,
    says_what_is_missing: bool = False,
) -> None:
    """Print the recipe as `printed` writes it, begin a run, or go on with one. `says_what_is_missing`: also for what
    the printed recipe would be refused here.

    Raises:
        UserError: the words make no run.
        TurnMixError: the run failed, or was stopped; the message says how to go on.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if resume is not None and run is not None:
        raise UserError(f"--run {run} and --resume {resume}: a run goes on where it lies; leave --run out")
    if resume is not None:
        recipe = resumed_recipe(Path(resume), GivenRecipe.of(names[0]) if names else None, overrides)
    elif names:
        recipe = load_recipe(names[0], overrides, say=say_note)
    else:
        raise UserError("name a recipe, such as recipes/minirepo_dagger.yaml, or a run with --resume")
    if printed is not None:
        write_output(printed(recipe))
        if says_what_is_missing:
            _say_what_is_missing(recipe)
        return
    reporter = ConsoleReporter()
    if resume is not None:
        done = resume_run(recipe, Path(resume), reporter=reporter)
    else:
        done = begin_run(recipe, name=names[0], run=run, overrides=overrides, reporter=reporter)
    if done.summary is not None:
        _tell(make_console(), done.summary, done.path)
    if done.was_complete and resume is None:
        say_note(f"{done.path} holds this recipe's run, complete: to run it again, name another with --run")


def _say_what_is_missing(recipe: Recipe) -> None:
    try:
        check_machine(recipe)
    except TurnMixError as error:
        for line in str(error).splitlines():
            say_note(f"as things are, nothing would begin: {line}")


def _tell(console: Console, summary: dict[str, Any], run: Path) -> None:
    """How a run came out, and where it lies."""
    console.print()
    console.print(summary_table(summary))
    console.print()
    if (asked := usage_table(summary)) is not None:
        console.print(asked)
        console.print()
    print_warnings(console, run_warnings(summary))
    for told in (
        untaught_text(summary),
        drift_text(summary.get("drift", {})),
        control_text(summary.get("control_texts", {})),
    ):
        if told:
            console.print(printable_line(told))
    console.print(printable_line(f"Took {duration_text(summary['wall_seconds'])}. Results lie in {run}"))
    if not summary["is_complete"]:
        done = sum(row["kept"] is not None for row in summary["iterations"])
        again = gateway_command(run, None, None)
        console.print(
            printable_line(f"Iteration {done} is learned: roll out iteration {done + 1} with: {again}")
        )
    console.print(printable_line(f"Look at trajectories: turnmix show {shlex.quote(str(run))}"))
