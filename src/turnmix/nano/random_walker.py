"""A policy to learn a text world's format from: it calls the tool correctly, for no reason whatever.

In: a world's environment, which says what can be done. Out: acts drawn from that. Each walk has tastes of its own, so
that some go far and others stay; a model that imitates it learns to write calls and what they lead to, but no way.
"""

from __future__ import annotations

import random

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action, State
from turnmix.environments.worlds.environment import ARGUMENT, TOOL, WorldEnvironment
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action

STAYING_SHARE = 0.5
"""Of the walks: those that draw all acts alike. The others like each act more or less."""


def make_random_walker(seed: int) -> ScriptedPolicy:
    """A policy whose every act is drawn from (seed, trajectory, turn). It takes the teacher's place, who may look."""

    def script(episode: Episode, state: State) -> Action:
        world = episode.inspectable
        if not isinstance(world, WorldEnvironment) or not (acts := world.possible_acts()):
            raise UserError(f"task {episode.task.id}: its world does not say what can be done")
        walk = f"{seed} {episode.trajectory_id}"
        generator = random.Random(f"{walk} {len(state.messages)}")
        act = generator.choices(acts, [_taste(walk, act) for act in acts])[0]
        return call_action(TOOL, **{ARGUMENT: act})

    return ScriptedPolicy("random walker", script)


def _taste(walk: str, act: str) -> float:
    """How much this walk likes an act."""
    if random.Random(walk).random() < STAYING_SHARE:
        return 1.0
    return random.Random(f"{walk} {act}").expovariate(1.0)
