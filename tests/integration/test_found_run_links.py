"""Links, pipes and second names in a run that somebody else made: none is written or read through."""

import os

import pytest
from scaffold_in_sandbox import needs_sandbox
from strangers import SMALL, strangers_run, turnmix

from turnmix.recipe.recipe import Recipe, recipe_yaml
from turnmix.store.evaluation_directory import EvaluationDirectory
from turnmix.store.made_here import is_made_here
from turnmix.store.run_directory import RunDirectory
from turnmix.store.subject_directory import Evaluated

IN_A_RUN = [
    ".lock",
    ".made-here",
    "..made-here.partial",
    "trajectories.jsonl",
    "evaluations.jsonl",
    "scores.jsonl",
    "metrics.jsonl",
    "clock.json",
    ".clock.json.partial",
    "summary.json",
    ".summary.json.partial",
    "untaught.json",
    "trackers.json",
    ".trackers.json.partial",
    "student-server.log",
    "checkpoints",
    "checkpoints/iteration-001",
    "tensorboard",
    "wandb",
]


@needs_sandbox
@pytest.mark.parametrize("name", IN_A_RUN)
def test_no_link_in_a_run_that_is_gone_on_with_is_followed(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (run / name).parent.mkdir(exist_ok=True)
    is_directory = "." not in name.removeprefix(".").removeprefix("checkpoints/")
    (run / name).symlink_to(outside if is_directory and name != ".lock" else outside / "new")
    code, said = turnmix(capsys, "train", "--resume", run)
    assert list(outside.iterdir()) == []
    assert (code, "Traceback" in said) == (2, False)
    assert f"{run / name}: it is a symbolic link, which is not followed" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["trajectories.jsonl", "metrics.jsonl", ".lock"])
def test_no_file_that_has_another_name_outside_is_appended_to(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    (tmp_path / "victim").write_text("")
    (run / name).hardlink_to(tmp_path / "victim")
    code, said = turnmix(capsys, "train", "--resume", run)
    assert (code, (tmp_path / "victim").read_text()) == (2, "")
    assert "hard link" in said


@pytest.mark.parametrize("name", IN_A_RUN)
def test_a_pipe_in_the_place_of_a_file_stops_nobody(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    (run / name).parent.mkdir(exist_ok=True)
    os.mkfifo(run / name)
    code, said = turnmix(capsys, "train", "--resume", run)
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    for command in (["show", run], ["show", run, "i001-00000"]):
        assert "Traceback" not in turnmix(capsys, *command)[1]


OF_AN_EVALUATION = [".lock", ".evaluation.json.partial", ".recipe.yaml.partial", ".versions.json.partial"]


@needs_sandbox
@pytest.mark.parametrize("name", ["", "own-base", *(f"own-base/{file}" for file in OF_AN_EVALUATION)])
def test_no_link_is_followed_when_an_evaluation_is_written_into_a_run(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    (run / "versions.json").unlink()  # nothing says that it is a run but that it is named as one
    outside = tmp_path / "outside"
    outside.mkdir()
    place = run / "evaluations" / name
    place.parent.mkdir(exist_ok=True, parents=True)
    place.symlink_to(outside / "new" if place.name.startswith(".") else outside)
    code, said = turnmix(capsys, "evaluate", run)
    assert list(outside.iterdir()) == []
    assert "Traceback" not in said
    if not name.endswith(".partial"):  # that is replaced
        assert code == 2
        assert "symbolic link" in said


def test_an_evaluation_stays_in_the_directory_that_was_opened_whatever_its_path_comes_to_mean(tmp_path):
    run = strangers_run(tmp_path)
    evaluated = Evaluated(
        student="s", weights=None, recipe="r", recipe_yaml=(run / "recipe.yaml").read_text()
    )
    directory = EvaluationDirectory.open(run / "evaluations" / "own", evaluated, run=run)
    (run / "evaluations").rename(run / "moved")
    outside = tmp_path / "outside"
    (outside / "own").mkdir(parents=True)
    (run / "evaluations").symlink_to(outside)
    directory.write_results({"n": 1})
    directory.add_file("predictions.jsonl", "")
    directory.close()
    assert list((outside / "own").iterdir()) == []
    assert (run / "moved" / "own" / "results.json").is_file()


def test_a_run_named_by_a_link_of_the_users_own_is_gone_on_with(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create(tmp_path / "a", recipe_yaml=recipe_yaml(Recipe.model_validate(SMALL)))
    run.close()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "wandb").mkdir()
    (tmp_path / "a" / "wandb" / "latest").symlink_to("../wandb")  # as trackers make them
    again = RunDirectory.resume(tmp_path / "link")
    again.record_stage("train", 1, {})
    again.close()
    assert is_made_here(tmp_path / "link" / "recipe.yaml")


@pytest.mark.parametrize("name", ["trajectories.jsonl", "summary.json", "recipe.yaml", "metrics.jsonl"])
def test_looking_at_a_run_shows_no_file_from_outside_of_it(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    secret = tmp_path / "private.jsonl"
    secret.write_text('{"id": "i001-00000", "task_id": "private", "prompt": []}\n')
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secret)
    for command in (
        ["show", run],
        ["show", run, "i001-00000"],
        ["show", run, "--unresolved"],
        ["evaluate", run],
    ):
        said = turnmix(capsys, *command)[1]
        assert "private" not in said
        assert "Traceback" not in said
