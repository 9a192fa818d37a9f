"""Are the trajectories from elsewhere there, and is every row one?"""

from __future__ import annotations

from collections.abc import Iterator

from turnmix.core.finding import Finding
from turnmix.exchange.imported import import_trajectories
from turnmix.recipe.recipe import Recipe


def check_data(recipe: Recipe) -> Iterator[Finding]:
    data = recipe.data
    if data.messages is None:
        return
    found = import_trajectories(
        data.messages, tools=data.tools, iterations=recipe.iterations, seed=recipe.seed
    )
    turns = sum(len(each.turns) for each in found)
    detail = f"{len(found):,} trajectories, of which {turns:,} turns are to learn"
    yield Finding(subject="messages", passed=True, detail=detail)
