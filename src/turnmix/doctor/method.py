"""Who acts and with which loss: what settings of the user's own say that stands in their way here."""

from __future__ import annotations

from collections.abc import Iterator

from turnmix.core.doors import findings_of
from turnmix.core.finding import Finding
from turnmix.recipe.recipe import Recipe


def check_method(recipe: Recipe) -> Iterator[Finding]:
    yield from findings_of(recipe.mixture)
    yield from findings_of(recipe.objective)
