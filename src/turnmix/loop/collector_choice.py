"""Who rolls trajectories out: TurnMix's own scaffold, or one of the user's own behind the gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from turnmix.gateway.scaffolds.collecting import ScaffoldCollector
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.recipe.recipe import Recipe
from turnmix.rollout.collector import collect
from turnmix.rollout.request import Collect


def collector_of(
    recipe: Recipe, *, count: Callable[[], TokenCounter], logs: Path, is_taught: bool
) -> Collect:
    """What collects the trajectories of a recipe. `count`: counts in the student's tokens; `logs`: the directory of the
    run or evaluation; `is_taught`: it is learned from them."""
    if (settings := recipe.rollouts.scaffold) is None:
        return collect
    return ScaffoldCollector(
        settings=settings,
        gateway=recipe.rollouts.gateway,
        max_turns=recipe.scaffold.max_turns,
        max_tokens=recipe.scaffold.max_tokens,
        count=count(),
        has_sandbox=recipe.tasks.needs_sandbox,
        logs=logs,
        is_taught=is_taught,
    ).collect
