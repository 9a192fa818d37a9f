"""The directory of an evaluation: begun, gone on with, or refused."""

import json
from contextlib import closing
from dataclasses import replace

import pytest
from recorded_trajectories import trajectory

from stored_checkpoints import store_checkpoint
from turnmix.core.errors import UserError
from turnmix.core.task import Task
from turnmix.evaluation.evaluator import evaluation_plans
from turnmix.running.evaluation_target import located
from turnmix.store.evaluation_directory import EvaluationDirectory
from turnmix.store.run_directory import RunDirectory
from turnmix.store.subject_directory import Evaluated

OF = Evaluated(
    student="runs/a/checkpoints/iteration-001",
    weights="abc",
    recipe="one.yaml",
    recipe_yaml="seed: 0\nstudent: {model: runs/a/checkpoints/iteration-001, device: cpu}\n",
)


def opened(path, of=OF):
    return closing(EvaluationDirectory.open(path, of))


def test_an_evaluation_goes_on_with_the_trajectories_that_it_holds(tmp_path):
    with opened(tmp_path / "e") as directory:
        directory.trajectories.append(trajectory("e000-00000"))
    with opened(tmp_path / "e") as directory:
        assert directory.trajectories.ids == ("e000-00000",)
        assert list(directory.changed_versions()) == []


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (replace(OF, recipe_yaml=OF.recipe_yaml.replace("0", "1", 1)), "seed: 1, but .* was begun with 0"),
        (replace(OF, recipe_yaml=OF.recipe_yaml.replace("cpu", "cuda")), "student.device: 'cuda'"),
        (
            replace(OF, student="b", weights="d"),
            "student: b, but .* is of runs/a/checkpoints/iteration-001, whose",
        ),
        (
            replace(OF, weights="d"),
            "is of what lay there, whose files are others: name another directory with --output",
        ),
        (replace(OF, student="org/model", weights=None), "student: org/model, but .* is of runs/a"),
        (
            replace(OF, weights="d", recipe_yaml="student: {device: cuda}"),
            r"^student: .*\(and 2 more differences\): name another directory with --output$",
        ),
    ],
)
def test_the_evaluation_of_another_recipe_or_student_is_refused(tmp_path, changed, complaint):
    with opened(tmp_path / "e"):
        pass
    with pytest.raises(UserError, match=complaint):
        EvaluationDirectory.open(tmp_path / "e", changed)


def test_a_student_whose_files_are_the_same_may_lie_elsewhere(tmp_path):
    with opened(tmp_path / "e"):
        pass
    elsewhere = OF.recipe_yaml.replace("runs/a", "/other/runs/a")
    with opened(tmp_path / "e", replace(OF, student="/other", recipe_yaml=elsewhere)):
        pass


def test_a_second_writer_is_told_of_the_first(tmp_path):
    with (
        opened(tmp_path / "e"),
        pytest.raises(UserError, match=r"is being written by another .* with --output"),
    ):
        EvaluationDirectory.open(tmp_path / "e", OF)


def test_one_killed_before_its_recipe_was_written_is_begun_anew(tmp_path):
    with opened(tmp_path / "e", replace(OF, student="b", weights="d")):
        pass
    (tmp_path / "e" / "recipe.yaml").rename(tmp_path / "e" / ".recipe.yaml.partial")
    (tmp_path / "e" / "evaluations.jsonl").unlink()
    with opened(tmp_path / "e"):
        assert json.loads((tmp_path / "e" / "evaluation.json").read_text())["weights"] == "abc"


def test_a_directory_that_holds_something_else_is_refused_and_so_is_a_run_there(tmp_path):
    RunDirectory.create(tmp_path / "run", recipe_yaml=OF.recipe_yaml).close()
    with pytest.raises(UserError, match=r"run is not empty .*: name another directory with --output"):
        EvaluationDirectory.open(tmp_path / "run", OF)
    with opened(tmp_path / "e"):
        pass
    with pytest.raises(UserError, match="e holds an evaluation, not a run"):
        RunDirectory.resume(tmp_path / "e")
    with pytest.raises(UserError, match="e holds an evaluation, not a run"):
        located(str(tmp_path / "e"))


def test_trajectories_of_other_tasks_are_refused(tmp_path):
    def planned(*names):
        tasks = [Task(id=name, problem_statement="") for name in names]
        return evaluation_plans(tasks, iteration=0, seed=0, cohort_size=1)

    with opened(tmp_path / "e") as directory:
        directory.trajectories.append(replace(trajectory("e000-00001"), task_id="b"))
        directory.check_tasks(planned("a", "b"))
        with pytest.raises(UserError, match=r"e000-00001 is now c, but .* was begun where it was b"):
            directory.check_tasks(planned("a", "c"))
        with pytest.raises(UserError, match="e000-00001 is now None"):
            directory.check_tasks(planned("a"))


def test_an_evaluation_goes_beside_its_run_or_into_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create(tmp_path / "runs" / "a", recipe_yaml="")
    (tmp_path / "verified.yaml").touch()
    assert str(located("runs/a").directory(None)) == "runs/a/evaluations/own-base"
    store_checkpoint(run.checkpoint(1))
    store_checkpoint(run.checkpoint(2))
    run.close()
    assert located("runs/a").model == "runs/a/checkpoints/iteration-002"
    assert str(located("runs/a/").directory("verified")) == "runs/a/evaluations/verified-iteration-002"
    first = located("runs/a/checkpoints/iteration-001/")
    assert str(first.directory(None)) == "runs/a/evaluations/own-iteration-001"
    monkeypatch.chdir(run.checkpoint(1))
    assert located(".").directory(None) == run.path / "evaluations" / "own-iteration-001"
    monkeypatch.chdir(tmp_path)
    assert str(located("Qwen/Qwen3-4B").directory("verified")) == "evaluations/Qwen3-4B-verified"
    assert str(located("odd name:x").directory("verified")) == "evaluations/odd-name-x-verified"
