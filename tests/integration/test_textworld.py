"""TextWorld: its planner as the expert, games made once and by their seed, whatever an agent says, and in the loop."""

import asyncio
import json
import subprocess
import sys

import pytest
from played_worlds import played, survives_mutated_actions

from turnmix.core.trajectory import StopReason
from turnmix.environments.worlds.textworld import TextWorldSettings
from turnmix.environments.worlds.textworld_cache import made_game
from turnmix.policies.scripted import call_action

pytest.importorskip("textworld", reason="TextWorld needs the extra: pip install 'turnmix[worlds]'")
COOKING = {"game": "cooking", "rooms": 1, "ingredients": 2, "take": 1, "cook": True, "cut": True}
TREASURE = {"game": "treasure", "rooms": 5, "quest_length": 3}


@pytest.fixture(scope="module", autouse=True)
def games(tmp_path_factory):
    """Where the games of these tests are kept."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def source(settings, **further):
    return TextWorldSettings(**{"max_turns": 40, **settings, **further}).make(None)


def acting(*commands):
    """Says these commands, and then what the expert says."""
    left = list(commands)
    return lambda action, state: call_action("act", action=left.pop(0)) if left else action


def said(messages):
    return [message.tool_calls[0].arguments["action"] for message in messages if message.tool_calls]


def test_the_expert_reads_the_recipe_and_cooks_the_meal():
    worlds = source(COOKING)
    for messages, reason, verdict in played(worlds, worlds.tasks("train")[:2]):
        assert "examine cookbook" in said(messages)
        assert said(messages)[-2:] == ["prepare meal", "eat meal"]
        assert (reason, verdict.resolved, verdict.reward) == (StopReason.finished, True, pytest.approx(1))
        assert verdict.details["score"] == verdict.details["max_score"] > 1
        assert (verdict.details["lost"], verdict.details["states_without_plan"]) == (False, 0)


def test_the_expert_takes_the_treasure_by_the_shortest_way_and_finds_the_way_back():
    worlds = source(TREASURE)
    tasks = worlds.tasks("train")[:2]
    assert [len(said(messages)) for messages, _, _ in played(worlds, tasks)] == [3, 3]
    lost_its_way = acting("go north", "go west", "examine me", "go south")
    assert all(verdict.resolved for _, _, verdict in played(worlds, tasks, lost_its_way))


def test_an_ingredient_that_is_burnt_loses_the_game_and_keeps_the_share_of_its_score():
    def cooks_twice(action, state):
        last = state.messages[-2].tool_calls
        is_cooked = last and last[0].arguments["action"].startswith("cook")
        return call_action("act", **last[0].arguments) if is_cooked else action

    worlds = source(COOKING)
    messages, reason, verdict = played(worlds, worlds.tasks("train")[:1], cooks_twice)[0]
    assert said(messages)[-1] == said(messages)[-2]
    assert (reason, verdict.resolved) == (StopReason.finished, False)
    assert (verdict.details["lost"], verdict.details["won"]) == (True, False)
    assert 0 < verdict.reward < 1


def test_commands_that_are_not_of_the_game_are_not_passed_on():
    worlds = source(TREASURE)
    foreign = [
        "quit",
        "restart",
        "look, quit",
        "look. quit",
        "look then quit",
        "tw-trace-actions",
        "save",
        "y",
    ]
    messages, _, verdict = played(worlds, worlds.tasks("train")[:1], acting(*foreign))[0]
    assert verdict.resolved
    assert not [message for message in messages if "Are you sure" in message.content]
    assert len(said(messages)) == len(foreign) + 3


def test_who_gives_up_has_lost():
    worlds = source(TREASURE)
    _, reason, verdict = played(worlds, worlds.tasks("train")[:1], acting("give up"))[0]
    assert (reason, verdict.resolved, verdict.details["won"]) == (StopReason.finished, False, False)


@pytest.mark.parametrize("settings", [COOKING, TREASURE], ids=["cooking", "treasure"])
def test_whatever_an_agent_does_is_answered(settings):
    class Few:
        def __init__(self, worlds):
            self.environment = worlds.environment
            self._tasks = worlds.tasks("train")[:2]

        def tasks(self, split):
            return list(self._tasks) * 1000

    asyncio.run(survives_mutated_actions(Few(source(settings, max_turns=50)), number=500))


def test_a_task_is_made_by_its_seed_and_no_holdout_task_is_trained_on():
    first, second, other = (source(TREASURE, seed=seed) for seed in (0, 0, 1))
    assert list(first.tasks("train")[:3]) == list(second.tasks("train")[:3])
    seeds = [
        {task.fields["seed"] for task in each}
        for each in (first.tasks("train"), first.tasks("holdout"), other.tasks("train")[:200])
    ]
    assert [len(each) for each in seeds] == [4000, 200, 200]
    assert not seeds[0] & (seeds[1] | seeds[2])


ORDER = {"game": "treasure", "seed": 5, "rooms": 3, "quest_length": 1, "mode": "easy"}


def test_a_game_is_made_once_and_again_where_it_was_damaged():
    story = made_game(ORDER)
    made = story.stat().st_mtime_ns
    assert made_game(ORDER).stat().st_mtime_ns == made
    logic = story.with_name("game.json")
    whole = logic.read_bytes()
    logic.write_bytes(whole[:-100])
    assert made_game(ORDER) == story
    assert logic.read_bytes() == whole


def test_two_processes_that_want_one_game_make_it_once():
    code = (
        "import sys, json; from turnmix.environments.worlds.textworld_cache import made_game; "
        "print(made_game(json.loads(sys.argv[1])).stat().st_mtime_ns)"
    )
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", code, json.dumps({**ORDER, "seed": 6})], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    first, second = (each.communicate()[0] for each in asking)
    assert first == second != b""
