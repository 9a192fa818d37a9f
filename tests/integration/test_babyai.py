"""BabyAI as text: its bot as the expert, whatever an agent does, the same play at the same seed, and in the loop."""

import asyncio
import sys
from pathlib import Path

import pytest
from killed_training import SMALL, trained_whole_and_killed
from played_worlds import mistaken, played, survives_mutated_actions

from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.core.trajectory import StopReason
from turnmix.environments.worlds.babyai import BabyAISettings
from turnmix.policies.scripted import call_action

pytest.importorskip("minigrid", reason="BabyAI needs the extra: pip install 'turnmix[worlds]'")
LEVELS = ("BabyAI-GoToLocal-v0", "BabyAI-PutNextLocal-v0", "BabyAI-UnlockPickup-v0")
RECIPE = str(Path(__file__).parents[2] / "recipes" / "babyai.yaml")


def source(**settings):
    return BabyAISettings(**{"levels": LEVELS, **settings}).make(None)


def test_the_expert_resolves_its_tasks_in_few_turns():
    plays = played(source(), source().tasks("train")[:90])
    assert sum(verdict.resolved for _, _, verdict in plays) >= 89
    assert {reason for _, reason, verdict in plays if verdict.resolved} == {StopReason.finished}
    assert sum(verdict.details["states_without_plan"] for _, _, verdict in plays) == 0


def test_the_expert_finds_the_way_back_from_mistakes():
    worlds = source(levels=LEVELS[:1])
    plays = played(worlds, worlds.tasks("train")[:20], mistaken(0))
    assert sum(verdict.resolved for _, _, verdict in plays) >= 19


def test_a_state_in_which_nothing_can_be_won_any_more_is_counted_and_the_expert_gives_up():
    def opens_the_box(action, state):
        is_about_to_win = "box 1 step forward\n" in f"{state.messages[-1].content}\n"
        return call_action("act", action="toggle") if is_about_to_win else None

    worlds = source(levels=LEVELS[2:])
    messages, reason, verdict = played(worlds, worlds.tasks("train")[:1], opens_the_box)[0]
    assert messages[-2].tool_calls[0].arguments == {"action": "done"}
    assert (reason, verdict.resolved, verdict.reward) == (StopReason.finished, False, 0)
    assert verdict.details == {"states_without_plan": 1}


def test_whatever_an_agent_does_is_answered():
    asyncio.run(survives_mutated_actions(source(max_turns=20)))


def test_a_task_is_made_by_its_seed_and_no_holdout_task_is_trained_on():
    first, second, other = source(), source(), source(seed=1)
    assert played(first, first.tasks("train")[:6], mistaken(1)) == played(
        second, second.tasks("train")[:6], mistaken(1)
    )
    seeds = [
        {task.fields["seed"] for task in each}
        for each in (first.tasks("train"), first.tasks("holdout"), other.tasks("train")[:200])
    ]
    assert [len(each) for each in seeds] == [4000, 200, 200]
    assert not seeds[0] & (seeds[1] | seeds[2])


def test_what_a_level_prints_while_it_is_drawn_stays_out_of_our_output(capsys):
    worlds = source(levels=["BabyAI-KeyCorridorS3R2-v0", "BabyAI-SynthS5R2-v0"])
    played(worlds, worlds.tasks("train")[:6], lambda action, state: call_action("act", action="done"))
    assert capsys.readouterr().out == ""


def test_a_wrong_level_and_a_missing_package_are_told_in_one_line(monkeypatch):
    with pytest.raises(
        UserError, match=r"tasks.levels: 'BabyAI-Moon-v0': there is no such level: give of Baby"
    ):
        BabyAISettings(levels="BabyAI-Moon-v0").check()
    monkeypatch.setitem(sys.modules, "minigrid", None)
    with pytest.raises(
        MissingDependencyError, match=r"the package minigrid .*pip install 'turnmix\[worlds\]'"
    ):
        source()


def test_a_run_of_the_recipe_that_was_killed_goes_on_to_the_same_trajectories(tmp_path):
    trained_whole_and_killed(RECIPE, SMALL, tmp_path)
