"""A checkpoint of a run as a directory to publish."""

import re
import shutil
from contextlib import closing

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.nano import CHECKPOINT
from turnmix.recipe.found_recipe import publishable
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.recipe.recipe_file import with_overrides
from turnmix.running.model_export import export_model
from turnmix.store.run_directory import SUMMARY, RunDirectory
from turnmix.viewing.model_card import model_card


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


def test_of_code_of_the_users_own_the_card_says_the_name_and_nothing_that_it_is_told():
    recipe = {
        "method": "my_methods.sharp:sharp",
        "teacher": {"kind": "my_world.teach:Teacher", "secret": "s3cret"},
        "tasks": {"source": "my_world.tasks:Words", "words": "/home/me/words"},
        "scaffold": {"tools": ["think", {"kind": "my_world.tools:Ask", "key": "s3cret"}]},
        "sandbox": {"kind": "bubblewrap", "container": {"socket": "/run/me.sock"}},
    }
    assert publishable(recipe) == {
        "method": "my_methods.sharp:sharp",
        "teacher": {"kind": "my_world.teach:Teacher"},
        "tasks": {"source": "my_world.tasks:Words"},
        "scaffold": {"tools": ["think", {"kind": "my_world.tools:Ask"}]},
        "sandbox": {"kind": "bubblewrap", "container": {}},
    }


def test_what_a_recipe_from_elsewhere_says_is_text_in_the_card_and_no_markup():
    hostile = "x\n---\nlicense: mit\n`<script>`"
    names = ("method", "seed", "iterations", "student.model", "tasks.source", "teacher.kind")
    recipe = with_overrides({}, [f"{name}={json_text(hostile)}" for name in names])
    card = model_card(recipe, summary={"iterations": []}, iteration=1, name="<b>`x`</b>")
    _, head, body = card.split("---\n", 2)
    assert "license" not in yaml.safe_load(head)
    assert "\n---" not in body
    assert not [
        line for line in body.splitlines() if "<script>" in re.sub("`.*?`", "", line) and line[:4].strip()
    ]
    assert "# \\<b\\>\\`x\\`\\</b\\>" in body


def test_a_card_of_trajectories_from_elsewhere_names_no_teacher_and_tasks_that_nobody_asked():
    recipe = {
        "method": "sft", "seed": 0, "iterations": 1,
        "tasks": {"source": "minirepo"}, "student": {"model": "nano-student"},
    }  # fmt: skip
    card = model_card(recipe, summary={"iterations": []}, iteration=1, name="mine", is_imported=True)
    told = card.partition("## Recipe")[0]
    assert "on trajectories from elsewhere" in told
    assert not [word for word in ("minirepo", "taught by", "``") if word in told]


@pytest.mark.parametrize("linked", ["checkpoints", "checkpoints/iteration-001/adapter"])
def test_a_folder_of_the_run_that_leads_out_of_it_is_not_published(run, tmp_path, linked):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "key").write_text("secret")
    if (run / linked).exists():
        (run / linked).rename(tmp_path / "moved")
        elsewhere = tmp_path / "moved"
    (run / linked).symlink_to(elsewhere)
    with pytest.raises(UserError, match="symbolic link, which is not followed"):
        export_model(run, tmp_path / "model", is_adapter=linked.endswith("adapter"))
    assert not (tmp_path / "model").exists()


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
