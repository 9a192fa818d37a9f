"""The trajectories that a run learns instead of rollouts: a recipe in; what reads them out, once they were read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turnmix.core.trajectory import Trajectory
from turnmix.exchange.imported import import_trajectories
from turnmix.recipe.recipe import Recipe

Imported = Callable[[], Sequence[Trajectory]]


def imported_by(recipe: Recipe, *, is_stored: bool) -> Imported | None:
    """None: the recipe rolls out. `is_stored`: the run holds them all, so that no file is needed.

    Raises:
        UserError: rows are none; told before anything long begins.
    """
    data = recipe.data
    if data.messages is None:
        return None
    found: Sequence[Trajectory] = ()
    if not is_stored:
        found = import_trajectories(
            data.messages, tools=data.tools, iterations=recipe.iterations, seed=recipe.seed
        )
    return lambda: found
