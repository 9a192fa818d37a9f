"""`turnmix sweep`: a comparison file, or a grid of settings in; a directory of runs out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.running.sweep import run_sweep
from turnmix.running.sweep_grid import given_comparison, output_of
from turnmix.viewing.console import ConsoleReporter, make_console, say


def sweep(words: Sequence[str], *, output: str | None, jobs: int) -> None:
    """Run all that is left of it, and print where it lies.

    Raises:
        UserError: the words make no sweep, or its directory holds another one.
        TurnMixError: runs failed, or it was stopped; the message says how to go on.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if not names:
        raise UserError("name a comparison file, or a recipe with a list such as seed=0,1,2 behind it")
    given = given_comparison(names[0], overrides)
    path = output_of(given) if output is None else Path(output)
    again = shlex.join(["turnmix", "sweep", *words, "--output", str(path), "--jobs", str(jobs)])
    done = run_sweep(given, output=path, jobs=jobs, again=again, reporter=ConsoleReporter())
    console = make_console()
    say(console, printable_line(f"{len(done.runs)} runs are complete in {done.path}"))
    say(console, printable_line(f"Compare them: turnmix compare {shlex.quote(str(done.path))}"))
