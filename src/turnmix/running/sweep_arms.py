"""In: a comparison. Out: its runs, each with its recipe loaded and checked; what is wrong is told before any begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from turnmix.assembly.machine import check_machine, check_models
from turnmix.core.errors import RecipeError, UserError
from turnmix.core.yaml_text import yaml_value
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_yaml
from turnmix.running.comparison_file import AnalysisSettings, GivenComparison
from turnmix.running.given_recipe import GivenRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One arm with one seed."""

    arm: str
    seed: int
    name: str
    """Of its directory, below the sweep's."""
    recipe_name: str
    overrides: tuple[str, ...]
    recipe: Recipe


def run_name(arm: str, seed: int) -> str:
    return f"{arm}-seed-{seed}"


def planned_runs(
    given: GivenComparison, *, say: Callable[[str], None] = lambda line: None
) -> list[PlannedRun]:
    """All runs, the arms of one seed after each other, so that they can be compared early. `say` is told what an
    arm's overrides leave out of the recipe.

    Raises:
        RecipeError: a line for each mistake of each arm.
        UserError: an arm's recipe cannot be run here.
    """
    comparison = given.comparison
    name = _recipe_name(given)
    recipes: dict[str, Recipe] = {}
    mistaken: dict[str, Sequence[str]] = {}
    for arm, own in comparison.arms.items():
        try:
            overrides = (*comparison.overrides, *own, f"seed={comparison.seeds[0]}")
            recipes[arm] = load_recipe(name, overrides, say=partial(_say_of, arm, say))
            if comparison.analysis is not None:
                _check_analysis(recipes[arm], comparison.analysis)
        except RecipeError as error:
            mistaken[arm] = error.lines
    if mistaken:
        raise RecipeError(*_mistakes(mistaken, num_arms=len(comparison.arms)))
    _check_different(recipes)
    for arm, recipe in recipes.items():
        _check_runs_here(arm, recipe)
        if comparison.analysis is None and not recipe.evaluation.tasks:
            raise RecipeError(
                f"arms.{arm}: evaluation.tasks: 0, and no analysis: nothing would be measured: give one of them"
            )
    return [
        PlannedRun(
            arm=arm,
            seed=seed,
            name=run_name(arm, seed),
            recipe_name=name,
            overrides=(*comparison.overrides, *comparison.arms[arm], f"seed={seed}"),
            recipe=recipe.model_copy(update={"seed": seed}),
        )
        for seed in comparison.seeds
        for arm, recipe in recipes.items()
    ]


def _check_analysis(recipe: Recipe, analysis: AnalysisSettings) -> None:
    if not isinstance(analysis.checkpoints, str):
        wrong = [each for each in analysis.checkpoints if not 0 <= each <= recipe.iterations]
        if wrong or not analysis.checkpoints:
            raise RecipeError(
                f"analysis.checkpoints: {wrong[0] if wrong else '[]'}: name last, all, or iterations from 0, the base "
                f"student, to {recipe.iterations}"
            )
    if analysis.overrides:
        try:
            resolved = yaml_value(recipe_yaml(recipe))  # as its run will hold it
            GivenRecipe.of(resolved).load(analysis.overrides)
        except RecipeError as error:
            raise RecipeError(*(f"analysis.overrides: {line}" for line in error.lines)) from error


def _mistakes(mistaken: Mapping[str, Sequence[str]], *, num_arms: int) -> list[str]:
    """What is wrong in all arms alike is told once."""
    lines = dict.fromkeys(line for told in mistaken.values() for line in told)
    arms = {line: [arm for arm, told in mistaken.items() if line in told] for line in lines}
    return [
        f"all arms: {line}" if len(arms[line]) == num_arms > 1 else f"arms.{arm}: {line}"
        for line in lines
        for arm in (arms[line][:1] if len(arms[line]) == num_arms else arms[line])
    ]


def _say_of(arm: str, say: Callable[[str], None], line: str) -> None:
    say(f"{arm}: {line}")


def _recipe_name(given: GivenComparison) -> str:
    """The recipe is looked for beside the comparison's file first."""
    name = given.comparison.recipe
    if given.path is not None and (beside := given.path.parent / name).is_file():
        return str(beside)
    return name


def _check_different(recipes: dict[str, Recipe]) -> None:
    """Raises RecipeError: two arms are one."""
    seen: dict[str, str] = {}
    for arm, recipe in recipes.items():
        first = seen.setdefault(recipe_yaml(recipe.model_copy(update={"cluster": None})), arm)
        if first != arm:
            raise RecipeError(
                f"arms.{arm}: its recipe is the same as that of {first}, whatever they say of the cluster: leave one "
                "out, or change it"
                if recipes[first].cluster != recipe.cluster
                else f"arms.{arm}: its recipe is the same as that of {first}: leave one out, or change it"
            )


def _check_runs_here(arm: str, recipe: Recipe) -> None:
    try:
        if recipe.tasks.is_for_evaluation:
            raise UserError("tasks.holdout = all: these tasks are to evaluate on: set it to a number")
        check_machine(recipe)
        check_models(recipe)
    except UserError as error:
        raise type(error)(*(f"arms.{arm}: {line}" for line in error.lines)) from error


def is_complete(run: Path) -> bool:
    """Has its training ended?"""
    from turnmix.store.record_files import read_summary
    from turnmix.store.run_directory import SUMMARY

    path = run / SUMMARY
    return path.is_file() and bool(read_summary(path, fix="delete it, and sweep again")["is_complete"])
