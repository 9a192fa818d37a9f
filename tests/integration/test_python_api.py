"""`import turnmix` does what the commands do: the same runs, the same figures, the same errors, in notebooks too."""

import asyncio
import json

import pytest
from scaffold_in_sandbox import needs_sandbox
from stored_trajectories import trajectories

import turnmix
from turnmix.recipe.recipe import recipe_yaml
from warm_python import run_turnmix

SMALL = {
    "method": "dagger",
    "iterations": 1,
    "tasks": {"train": 40, "holdout": 8},
    "student": {"model": "nano-student", "cohort_size": 2, "max_new_tokens": 16},
    "scaffold": {"max_turns": 4},
    "rollouts": {"tasks_per_iteration": 4, "concurrency": 4},
    "data": {"filter": "all"},
    "learner": {"learning_rate": 1e-3, "epochs": 1, "batch_size": 2},
    "evaluation": {"tasks": 2},
}
WEIGHTS = "checkpoints/iteration-001/model.safetensors"


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.notes, self.said, self.stages = [], [], []
        self.note, self.say = self.notes.append, self.said.append

    def progress(self, *, seconds):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def begin(self, stage, iteration, *, total, done):
        self.stages.append((stage, iteration, total))

    def advance(self, stage, iteration, *, done, note):
        pass

    def end(self, stage, iteration, figures):
        self.stages.append((stage, iteration, "done"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    (folder / "small.yaml").write_text(json.dumps(SMALL))
    done = run_turnmix("train", "small.yaml", "seed=3", "--run", "by-command", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def told():
    return Told()


@pytest.fixture(scope="module")
def run(folder, told):
    """The same run by the API, where an event loop runs already, as in a notebook."""

    async def cell():
        return turnmix.train(SMALL, ["seed=3"], run=folder / "by-api", reporter=told)

    return asyncio.run(cell())


@needs_sandbox
def test_a_run_by_the_api_is_that_of_the_command_to_the_byte(folder, run, told):
    assert run.path == folder / "by-api"
    assert (run.path / WEIGHTS).read_bytes() == (folder / "by-command" / WEIGHTS).read_bytes()
    for name in ("trajectories.jsonl", "evaluations.jsonl"):
        assert trajectories(run.path / name) == trajectories(folder / "by-command" / name)
    assert ("rollout", 1, 4) in told.stages
    assert ("train", 1, "done") in told.stages


@needs_sandbox
def test_a_run_is_read_also_one_that_the_command_made(folder, run):
    read = turnmix.read_run(folder / "by-command")
    assert read.recipe == run.recipe == turnmix.load_recipe(SMALL, ["seed=3"])
    assert read.is_complete
    assert [each["stage"] for each in read.metrics].count("evaluate") == 2
    assert len(list(read.trajectories())) == len(list(read.trajectories(1))) == 4
    assert {each.iteration for each in read.evaluations()} == {0, 1}
    assert read.summary["iterations"][0]["rollouts"] == 4
    assert read.checkpoint() == read.checkpoint(1) == folder / "by-command" / "checkpoints/iteration-001"
    assert read.checkpoint(7) is None


def test_a_run_that_is_not_finished_has_no_summary_and_says_so(tmp_path):
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(turnmix.load_recipe(SMALL)))
    read = turnmix.Run(tmp_path)
    assert not read.is_complete
    with pytest.raises(turnmix.UserError, match="has no summary yet"):
        _ = read.summary


@needs_sandbox
def test_the_same_call_again_finds_its_run_and_one_that_is_resumed_is_the_same(run, told):
    again = turnmix.train(SMALL, ["seed=3"], run=run.path, reporter=told)
    assert again == turnmix.train(resume=run, reporter=told) == run
    with pytest.raises(turnmix.UserError, match="seed: 3 there, 4 here"):
        turnmix.train(SMALL, ["seed=4"], run=run.path, reporter=told)


@needs_sandbox
def test_an_evaluation_by_the_api_gives_the_figures_of_the_run(folder, run, told):
    done = turnmix.evaluate(run, output=folder / "evaluated", reporter=told)
    assert done.is_evaluation
    assert done.is_complete
    stage = next(each for each in run.metrics if (each["stage"], each["iteration"]) == ("evaluate", 1))
    figures = ("resolved", "n", "stop_reasons")
    assert [done.summary[each] for each in figures] == [stage[each] for each in figures]
    by_teacher = turnmix.evaluate(
        "teacher", SMALL, ["scaffold.max_turns=30"], output=folder / "t", reporter=told
    )
    assert by_teacher.summary["student"] == "oracle"
    assert told.said[-1] == "teacher: oracle"


def test_a_recipe_is_a_name_a_path_a_mapping_or_one_already_loaded(folder):
    by_name = turnmix.load_recipe("minirepo_dagger", ["seed=3"])
    assert turnmix.load_recipe({"extends": "minirepo_dagger", "seed": 3}) == by_name
    assert turnmix.load_recipe(by_name) == by_name
    assert turnmix.load_recipe(folder / "small.yaml") == turnmix.load_recipe(SMALL)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: turnmix.load_recipe({"method": "dager"}), "did you mean 'dagger'?"),
        (lambda: turnmix.load_recipe({**SMALL, "learner": {"epochs": 0}}), "learner.epochs"),
        (lambda: turnmix.load_recipe(7), "recipe: 7: give a path, a bare name"),
        (lambda: turnmix.load_recipe("minirepo_dagger", "seed=3"), "overrides: 'seed=3': give a list"),
        (lambda: turnmix.load_recipe("minirepo_dagger", {"seed": 3}), "overrides: {'seed': 3}: give a list"),
        (lambda: turnmix.load_recipe(turnmix.load_recipe(SMALL), ["seed=3"]), "is loaded already"),
        (lambda: turnmix.train(), "train: give a recipe"),
        (lambda: turnmix.train(run="a", resume="b"), "leave run out"),
        (lambda: turnmix.train(resume="nowhere"), "nowhere holds no run"),
        (lambda: turnmix.evaluate("teacher"), "name a recipe too"),
        (lambda: turnmix.read_run("nowhere"), "nowhere holds no run"),
    ],
)
def test_a_mistake_is_an_exception_with_the_lines_of_the_command(call, line):
    with pytest.raises(turnmix.UserError) as raised:
        call()
    assert line in "\n".join(raised.value.lines)
