"""Runs that are named, compared. Runs whose recipes differ in nothing but the seed are one arm.

In: directories of runs or evaluations, the first of which belongs to the reference arm. Out: a `Compared`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnmix.analysis.compared import compared_outcome
from turnmix.analysis.outcomes import OUTCOMES, ByTask, by_task, measured
from turnmix.core.errors import UserError
from turnmix.recipe.mistakes import nearest
from turnmix.recipe.recipe import recipe_yaml
from turnmix.running.comparing import Compared, analysis_of, evaluated
from turnmix.running.reading import Run, read_run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    run: Run
    seed: int
    recipe: str
    """Without its seed."""
    iterations: int


def compare_runs(paths: Sequence[Path], outcomes: Sequence[str] = ()) -> Compared:
    """`outcomes`: left out, all that was measured in each of them.

    Raises:
        UserError: fewer than two are given, one of them is no run, or has not what is asked for.
    """
    if len(paths) < 2:
        raise UserError("compare: give a sweep, or two runs or more")
    for name in outcomes:
        if name not in OUTCOMES:
            known = [*OUTCOMES]
            raise UserError(
                f"outcomes: {name!r} is none: use some of {', '.join(known)}{nearest(name, known)}"
            )
    given = [_given(path) for path in paths]
    arms = _arms(given)
    if len(arms) < 2:
        raise UserError(
            f"compare: {paths[0]} and {paths[1]} differ in their seeds alone, and are one arm: give another arm too"
        )
    names = list(outcomes) or _measured_in_all(given)
    if not names:
        bare = next(each.run.path for each in given if not _has("resolved", each))
        raise UserError(
            f"{bare}: has no evaluation to compare: `turnmix evaluate {bare}` or `turnmix analyse {bare}`"
        )
    compared = []
    for name in names:
        is_analysed = all(_analysed(name, each) is not None for each in given)
        parts = {
            arm: measured(
                arm,
                OUTCOMES[name].unit,
                {each.seed: _part(name, each, is_analysed=is_analysed) for each in members},
            )
            for arm, members in arms.items()
        }
        compared.append(compared_outcome(name, parts, reference=next(iter(arms))))
    return Compared(
        name="runs",
        heading=[
            f"{arm}: {', '.join(str(each.run.path) for each in members)}" for arm, members in arms.items()
        ],
        outcomes=compared,
        decision=None,
        record=None,
    )


def _given(path: Path) -> _Given:
    run = read_run(path)
    recipe = run.recipe
    return _Given(
        run=run,
        seed=recipe.seed,
        recipe=recipe_yaml(recipe.model_copy(update={"seed": 0, "cluster": None})),
        iterations=recipe.iterations,
    )


def _arms(given: Sequence[_Given]) -> dict[str, list[_Given]]:
    """Evaluations are of students of their own: each is an arm."""
    groups: dict[str, list[_Given]] = {}
    for place, each in enumerate(given):
        key = f"{place}" if each.run.is_evaluation else each.recipe
        members = groups.setdefault(key, [])
        if any(each.seed == other.seed for other in members):
            raise UserError(f"{each.run.path}: is the same run as {members[0].run.path}: name each once")
        members.append(each)
    arms: dict[str, list[_Given]] = {}
    for members in groups.values():
        path = members[0].run.path
        name = (
            path.name if len(members) == 1 else re.sub(r"[-_.]?(seed)?[-_.]?\d+$", "", path.name) or path.name
        )
        arms[str(path) if name in arms else name] = members
    return arms


def _measured_in_all(given: Sequence[_Given]) -> list[str]:
    return [name for name in OUTCOMES if all(_has(name, each) for each in given)]


def _has(name: str, each: _Given) -> bool:
    return _analysed(name, each) is not None or (name == "resolved" and bool(evaluated(each.run.path)))


def _analysed(name: str, each: _Given) -> object:
    return None if each.run.is_evaluation else analysis_of(each.run.path, each.iterations, [name])


def _part(name: str, each: _Given, *, is_analysed: bool) -> ByTask:
    if is_analysed and (analysis := analysis_of(each.run.path, each.iterations, [name])) is not None:
        return by_task([name], analysis)[name]
    if name != "resolved" or not (found := evaluated(each.run.path)):
        instrument = OUTCOMES[name].instrument
        raise UserError(
            f"{each.run.path}: {name} was not measured: `turnmix analyse {each.run.path} --instruments {instrument}`"
        )
    return found
