"""A nano student for a text world, made by one command from random walks alone."""

import sys

import pytest

from turnmix.core.errors import UserError
from turnmix.nano import pretrain
from turnmix.nano.learning import read_experience
from turnmix.nano.world_student import collect_walks
from turnmix.policies.local.loading import load_student
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.recipe.recipe import load_recipe

pytest.importorskip("minigrid", reason="BabyAI needs the extra: pip install 'turnmix[worlds]'")
ACTS = {"turn left", "turn right", "go forward", "pick up", "drop", "toggle"}


def walks(path, recipe="babyai"):
    collect_walks(load_recipe(recipe, ["method=dagger"]), path, num_walks=8, turns=12, seed=1)
    return read_experience(path)


def test_walks_are_drawn_from_what_can_be_done_and_not_planned(tmp_path):
    found = walks(tmp_path / "walks.jsonl")
    turns = [turn for each in found for turn in each.turns]
    assert {turn.action.message.tool_calls[0].arguments["action"] for turn in turns} == ACTS
    assert sum(each.verdict.resolved for each in found) < len(found) / 2

    def actions(trajectories):
        return [[turn.action for turn in each.turns] for each in trajectories]

    assert actions(walks(tmp_path / "again.jsonl")) == actions(found)
    assert len({*map(str, actions(found))}) == len(found)


def test_one_command_makes_a_student_that_reads_the_world_in_few_tokens(tmp_path, monkeypatch, capsys):
    words = ["babyai", "-o", str(tmp_path), "--trajectories", "6", "--turns", "8"]
    monkeypatch.setattr(sys, "argv", ["pretrain", *words, "--copying-tokens", "1", "--tokens", "1"])
    assert pretrain.main() == 0
    _, _, renderer = load_student(StudentSettings(model=str(tmp_path)))
    walk = read_experience(tmp_path / "experience.jsonl")[0]
    state, last = walk.state(len(walk.turns) - 1), walk.turns[-1].action
    said = renderer.parse(renderer.target_ids(state, last), state.tools)
    assert said.message.tool_calls[0].arguments == last.message.tool_calls[0].arguments
    assert len(renderer.prompt_ids(state)) < 100 * len(walk.turns)
    assert sum(path.stat().st_size for path in tmp_path.iterdir() if path.suffix != ".jsonl") < 8_000_000


def test_tasks_that_are_no_text_world_are_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"tasks\.source: 'minirepo': random walks need a text world"):
        walks(tmp_path / "walks.jsonl", "minirepo")
