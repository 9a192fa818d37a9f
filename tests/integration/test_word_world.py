"""A world with no sandbox, no files and no patch is trained on, evaluated, shown and gone on with like any other."""

import json
from pathlib import Path

import pytest
import word_world
import yaml
from stored_trajectories import trajectories

from turnmix.cli import main
from turnmix.core.errors import UserError

RECIPE = {
    "iterations": 1,
    "tasks": {"source": "word_world:Words"},
    "student": {"model": "nano-student", "cohort_size": 4, "max_new_tokens": 12},
    "scaffold": {"max_tokens": 8192},
    "rollouts": {"tasks_per_iteration": 2, "samples_per_task": 4, "concurrency": 4},
    "learner": {"learning_rate": 1.0e-3, "epochs": 1, "batch_size": 2},
    "evaluation": {"tasks": 3, "base": False},
}


@pytest.fixture
def turnmix(tmp_path, monkeypatch, capsys):
    """Runs a command where no sandbox can be made; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    def run(*words, code=0):
        assert main([*words]) == code
        printed = capsys.readouterr()
        return " ".join((printed.out + printed.err).split())

    return run


def write_recipe(**changes):
    Path("words.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))


def figures():
    (row,) = json.loads(Path("run/summary.json").read_text())["iterations"]
    return row


def test_a_world_without_sandbox_or_patch_is_trained_on_gone_on_with_shown_and_evaluated(
    turnmix, monkeypatch
):
    write_recipe(method="dagger", mixture={"decay": 0, "start": 0.5, "floor": 0.5})
    assert "these tasks need none" in turnmix("doctor", "words.yaml")
    intact, left = word_world.WordWorld.verify, [5]

    async def breaking(self, stop_reason):
        left[0] -= 1
        if left[0] < 0:
            raise UserError("the world broke")
        return await intact(self, stop_reason)

    with monkeypatch.context() as broken:
        broken.setattr(word_world.WordWorld, "verify", breaking)
        assert "the world broke" in turnmix("train", "words.yaml", "--run", "run", code=2)
    assert 4 <= len(trajectories(Path("run/trajectories.jsonl"))) <= 5
    turnmix("train", "--resume", "run")
    assert len(trajectories(Path("run/trajectories.jsonl"))) == 8
    row = figures()
    assert (row["rollouts"], row["infra_errors"], row["submitted"]) == (8, 0, row["resolved"])
    assert row["labels"] > 0
    assert "of the 8 rollouts" in turnmix("show", "run")
    assert "secret green" in turnmix("show", "run", "i001-00000")
    assert "average reward" in turnmix("evaluate", "run")
    assert "resolved: 3/3" in turnmix("evaluate", "teacher", "words.yaml")


def test_grpo_learns_from_a_reward_where_nothing_is_resolved(turnmix):
    write_recipe(method="grpo")
    turnmix("train", "words.yaml", "--run", "run")
    row = figures()
    assert row["resolved"] == 0
    assert row["objective"]["groups_without_spread"] == 0
    assert row["labels"] > 0
    assert 0 < row["eval"]["mean_reward"] < 1
