"""`turnmix gateway`: serves the rollouts of a run's next iteration to scaffolds that start themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.recipe.recipe import load_recipe
from turnmix.running.gateway import Place, serve_found_run, serve_run
from turnmix.running.run_choice import resumed_recipe
from turnmix.store.place import resume_command
from turnmix.viewing.console import ConsoleReporter, make_console, say, say_note


def gateway(*, words: Sequence[str], run: str | None, host: str | None, port: int | None) -> None:
    """Serve until all trajectories of the iteration are there.

    Raises:
        UserError: the words make no run, or it cannot be served.
        TurnMixError: it failed, or was stopped; the message says how to go on.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    reporter, place = ConsoleReporter(), Place(host=host, port=port)
    if names:
        recipe = load_recipe(names[0], overrides, say=say_note)
        done = serve_run(recipe, name=names[0], run=run, overrides=overrides, place=place, reporter=reporter)
    elif run is not None:
        recipe = resumed_recipe(Path(run), None, overrides)
        done = serve_found_run(recipe, Path(run), place=place, reporter=reporter)
    else:
        raise UserError("name a recipe, such as recipes/minirepo_dagger.yaml, or a run with --run")
    told = (
        f"{done.path} holds this recipe's run, complete: to roll out another, name another with --run"
        if done.was_complete
        else f"Iteration {done.iteration} has its {done.num_trajectories} trajectories: learn from them with: "
        f"{resume_command(done.path)}"
    )
    say(make_console(), printable_line(told))
