"""Gymnasium environments as text: told as they stand, as they render, or by a function; discrete or text actions."""

import asyncio
from pathlib import Path

import pytest
from killed_training import DAGGER, SMALL, trained_whole_and_killed
from played_worlds import played, survives_mutated_actions

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.trajectory import StopReason
from turnmix.environments.worlds.gymnasium import GymnasiumSettings
from turnmix.policies.scripted import call_action
from turnmix.recipe.recipe import load_recipe

gymnasium = pytest.importorskip("gymnasium", reason="it needs the extra: pip install 'turnmix[worlds]'")
LAKE = {"environment": "FrozenLake-v1", "options": {"is_slippery": False}, "max_turns": 12}
RECIPE = str(Path(__file__).parents[2] / "recipes" / "gymnasium.yaml")
NOT_SLIPPERY = "tasks.options.is_slippery=false"
EXPERT = """
def walked_along(environment):
    ways = iter(["down", "down", "right", "right", "down", "right"])
    return lambda last: next(ways, None)
"""
NAMED = ("left", "down", "right", "up")


class Echo(gymnasium.Env):
    """Wants a word back; breaks at another."""

    observation_space = action_space = gymnasium.spaces.Text(12, charset="abcdefghijklmnopqrstuvwxyz")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.word = str(self.np_random.choice(["red", "green", "blue"]))
        return self.word, {}

    def step(self, action):
        if action == "crash":
            raise ValueError("the echo is gone")
        return self.word, float(action == self.word), action == self.word, False, {}


def walked_along(environment):
    """Knows the way over the lake of four by four."""
    ways = iter(["down", "down", "right", "right", "down", "right"])
    return lambda last: next(ways)


def told(observation, environment):
    return f"You are on {observation} of {environment.unwrapped.nrow**2}"


@pytest.fixture(autouse=True)
def echo():
    if "Echo-v0" not in gymnasium.registry:
        gymnasium.register("Echo-v0", Echo, disable_env_checker=True)


def source(**settings):
    read = GymnasiumSettings(**{**LAKE, **settings})
    read.check()
    return read.make(None)


@pytest.mark.parametrize(
    ("describe", "shown"),
    [
        ("observation", "4"),
        ("ansi", "(Down)\nSFFF\n[F]HFH\nFFFH\nHFFG"),
        (f"{__name__}:told", "You are on 4 of 16"),
    ],
)
def test_an_observation_is_told_as_it_stands_as_it_renders_or_by_a_function(describe, shown):
    worlds = source(describe=describe, actions=NAMED, expert=f"{__name__}:walked_along")
    messages, reason, verdict = played(worlds, worlds.tasks("train")[:1])[0]
    assert messages[3].content == shown
    assert (reason, verdict.resolved, verdict.reward) == (StopReason.finished, True, 1)


def test_actions_without_names_are_numbers_and_a_world_may_have_no_expert():
    worlds = source()
    assert worlds.expert() is None
    _, reason, verdict = played(worlds, worlds.tasks("train")[:1], lambda *_: call_action("act", action="0"))[
        0
    ]
    assert (reason, verdict.resolved, verdict.details) == (StopReason.max_turns, False, {})


def test_a_world_of_text_takes_any_text_of_its_space_and_one_that_fails_is_no_verdict():
    worlds = source(environment="Echo-v0", options={})
    tasks = worlds.tasks("train")[:3]
    repeat = lambda action, state: call_action("act", action=state.messages[1].content)  # noqa: E731
    assert [verdict.resolved for _, _, verdict in played(worlds, tasks, repeat)] == [True] * 3
    shout = lambda action, state: call_action("act", action="RED!")  # noqa: E731
    messages, _, _ = played(worlds, tasks[:1], shout)[0]
    assert messages[-1].content == "ERROR: Call act with action, a text."
    with pytest.raises(InfrastructureError, match="its world failed: ValueError: the echo is gone"):
        played(worlds, tasks[:1], lambda *_: call_action("act", action="crash"))


def test_whatever_an_agent_does_is_answered():
    asyncio.run(survives_mutated_actions(source(describe="ansi", actions=NAMED)))
    asyncio.run(survives_mutated_actions(source(environment="Echo-v0", options={}), number=200))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"environment": "Frozen-v9"},
            "tasks.environment: 'Frozen-v9': gymnasium.make gives none by this name",
        ),
        (
            {"options": {"depth": 3}},
            "tasks.environment: 'FrozenLake-v1': gymnasium.make gives none by this name and",
        ),
        (
            {"environment": "Pendulum-v1", "options": {}},
            "takes environments whose actions are discrete or text",
        ),
        (
            {"actions": [*NAMED, "jump"]},
            "tasks.actions: left, down, right, up, jump: give names of their own",
        ),
    ],
)
def test_what_cannot_be_played_is_told_before_anything_long(settings, said):
    with pytest.raises(UserError) as refused:
        source(**settings)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_recipe_with_an_expert_of_the_users_resolves_its_tasks():
    worlds = load_recipe(RECIPE, [NOT_SLIPPERY, f"tasks.expert={__name__}:walked_along"]).tasks.make(None)
    plays = played(worlds, worlds.tasks("holdout")[:50])
    assert sum(verdict.resolved for _, _, verdict in plays) == 50


def test_a_run_of_the_recipe_that_was_killed_goes_on_to_the_same_trajectories(tmp_path):
    (tmp_path / "my_lake.py").write_text(EXPERT)
    words = [*SMALL, *DAGGER, NOT_SLIPPERY, "tasks.expert=my_lake:walked_along"]
    trained_whole_and_killed(RECIPE, words, tmp_path)
