"""A checkpoint of a run as a directory to publish."""

import shutil
from contextlib import closing

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.nano import CHECKPOINT
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.running.model_export import export_model
from turnmix.store.run_directory import SUMMARY, RunDirectory


def evaluation(resolved):
    return {
        "resolved": resolved, "submitted": resolved, "n": 200, "low": 0.1, "high": 0.9, "mean_turns": 9.0,
        "unfinished": 0, "unfinished_are": "unresolved", "stop_reasons": {"finished": 200}, "infra_errors": 0,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A finished run of one iteration whose student is the shipped one still."""
    path = tmp_path / "run"
    recipe = load_recipe(
        "minirepo_dagger",
        ["teacher.kind=endpoint", "teacher.endpoint=https://inside.example.com/v1", "teacher.model=o/big"],
    )
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe))) as directory:
        checkpoint = directory.new_checkpoint(1)
        shutil.copytree(CHECKPOINT, checkpoint)
        (checkpoint / "learner.pt").write_bytes(b"the optimiser's state")
        figures = {
            "beta": 1.0,
            "realised_beta": 1.0,
            "rollouts": 4,
            "resolved": 4,
            "kept": 4,
            "labels": 9,
            "loss": 0.1,
        }
        iterations = [{"iteration": 1, **figures, "infra_errors": 0, "eval": evaluation(154)}]
        summary = {
            "method": "dagger",
            "seed": 0,
            "is_complete": True,
            "base": evaluation(59),
            "iterations": iterations,
        }
        (path / SUMMARY).write_text(json_text({**summary, "wall_seconds": 1.0}))
    return path


def test_weights_and_tokenizer_leave_the_run_and_what_learning_needs_stays(run, tmp_path):
    exported = export_model(run, tmp_path / "model")
    names = {path.name for path in exported.iterdir()}
    assert "learner.pt" not in names
    assert {"model.safetensors", "tokenizer.json", "config.json", "README.md"} <= names
    loaded, shipped = (AutoModelForCausalLM.from_pretrained(where) for where in (exported, CHECKPOINT))
    for one, other in zip(loaded.parameters(), shipped.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_card_says_what_was_trained_how_and_what_it_came_to(run, tmp_path):
    text = (export_model(run, tmp_path / "model", name="me/model") / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "transformers"
    assert "from_pretrained('me/model')" in body
    for told in ("59/200", "154/200", "`dagger`", "`o/big`", "`nano-student`", "`execute_bash`"):
        assert told in body


def test_the_card_names_no_place_of_the_users_own(run, tmp_path):
    assert "inside.example.com" not in (export_model(run, tmp_path / "model") / "README.md").read_text()


def test_a_link_in_a_checkpoint_is_not_followed_and_nothing_half_made_stays(run, tmp_path):
    secret = tmp_path / "id_rsa"
    secret.write_text("a key")
    (run / "checkpoints" / "iteration-001" / "vocab.txt").symlink_to(secret)
    with pytest.raises(UserError, match=r"vocab\.txt is no regular file"):
        export_model(run, tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["id_rsa", "run"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"iteration": 7}, "--iteration 7: .* it holds those of iterations 1"),
        ({"is_adapter": True}, "--adapter: .* leave --adapter out"),
    ],
)
def test_what_the_run_does_not_hold_is_refused_with_what_it_holds(run, tmp_path, how, told):
    with pytest.raises(UserError, match=told):
        export_model(run, tmp_path / "model", **how)


def test_nothing_is_written_over_what_is_there(run, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="something is there already"):
        export_model(run, tmp_path / "model")
