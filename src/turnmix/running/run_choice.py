"""In: what `turnmix train` is given. Out: which run it is about: a new one, or one that is there already.

The same command again goes on with the run of the same recipe. Where a name was not asked for, a run of another
recipe there is left alone, and the new one gets a number: runs/NAME, runs/NAME-2, …
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from turnmix.cluster.settings import without_cluster
from turnmix.core.doors import plugin_names
from turnmix.core.errors import RecipeError, UserError
from turnmix.recipe.recipe import Recipe, recipe_yaml, stored_recipe
from turnmix.running.given_recipe import GivenRecipe
from turnmix.store.differences import differences
from turnmix.store.place import RECIPE, check_is_free, resume_command
from turnmix.store.run_directory import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChoice:
    """One run."""

    path: Path
    is_begun: bool
    note: str | None = None
    """What the user should know of the choice."""


def resumed_recipe(run: Path, given: GivenRecipe | None, overrides: Sequence[str]) -> Recipe:
    """The recipe of a run. One given again must be the same: its secrets alone may be new.

    Raises:
        UserError: there is no run, or it was begun with another recipe.
    """
    with closing(RunDirectory.read(run)) as directory:
        stored = str(directory.recipe_path)
    recipe = (given or GivenRecipe.of_run(stored)).load(overrides)
    for field, was, now in _differences(run, recipe):
        raise RecipeError(
            f"{field}: {now!r}, but the run in {run} was begun with {was!r}: a run goes on with its own "
            "recipe; leave recipe and overrides out, or begin another run with --run"
        )
    return recipe


def _run_name(recipe: Recipe, *, name: str, overrides: Sequence[str]) -> str:
    """What a run is called: by its method too, where the command line says that. `minirepo method=sft` goes to
    runs/minirepo_sft."""
    stem = Path(name).stem
    is_said = any(each.partition("=")[0].strip() == "method" for each in overrides)
    method = recipe.method.rpartition(":")[2].lower()
    return f"{stem}_{method}" if is_said and not stem.endswith(method) else stem


def chosen_run(recipe: Recipe, *, name: str, run: str | None, overrides: Sequence[str] = ()) -> RunChoice:
    """Where a run of `recipe` goes, which was named `name` and changed by `overrides`; `run`: as the user says.

    Raises:
        UserError: `run` is taken by something else.
    """
    if run is not None:
        return _named(recipe, Path(run))
    first = Path("runs") / _run_name(recipe, name=name, overrides=overrides)
    why = None
    for number in itertools.count(1):
        path = first if number == 1 else first.with_name(f"{first.name}-{number}")
        if (path / RECIPE).is_file():
            taken = _difference(path, recipe)
            if taken is None:
                return _begun(path)
        else:
            try:
                check_is_free(path)
            except UserError as error:
                taken = str(error).partition(":")[0]
            else:
                note = None if why is None else f"{why}: this one goes to {path}"
                return RunChoice(path=path, is_begun=False, note=note)
        why = why or taken
    raise AssertionError("numbers end")


def _named(recipe: Recipe, path: Path) -> RunChoice:
    if not (path / RECIPE).is_file():
        check_is_free(path)
        return RunChoice(path=path, is_begun=False)
    if (taken := _difference(path, recipe)) is not None:
        raise UserError(f"{taken}: name another directory with --run, or go on there: {resume_command(path)}")
    return _begun(path)


def _begun(path: Path) -> RunChoice:
    return RunChoice(path=path, is_begun=True, note=f"{path} holds a run of this recipe: going on with it")


def _difference(path: Path, recipe: Recipe) -> str | None:
    """What another recipe the run in `path` was begun with; None: the same."""
    try:
        found = _differences(path, recipe)
    except RecipeError:
        return f"{path} holds a run of another release's recipe"
    if not found:
        return None
    field, was, now = found[0]
    return f"{path} holds a run of another recipe ({field}: {was!r} there, {now!r} here)"


def _differences(path: Path, recipe: Recipe) -> list[tuple[str, Any, Any]]:
    # Both with every default: a setting that is newer than the run is no difference.
    stored = stored_recipe(path / RECIPE, imported=plugin_names(recipe))
    begun, given = (without_cluster(yaml.safe_load(recipe_yaml(each))) for each in (stored, recipe))
    return list(differences(begun, given))
