"""A run with a teacher of one's own, from a file beside the recipe: stopped by a fault of it, mended, gone on with."""

import json
import sys

import pytest
from scaffold_in_sandbox import needs_sandbox

from turnmix import read_run
from warm_python import run_turnmix

pytestmark = needs_sandbox
TEACHER = """\
import turnmix


class Terse(turnmix.TeacherSettings):
    \"\"\"Always does the same.\"\"\"

    word: str
    \"\"\"What it says as it finishes.\"\"\"

    def make(self, parts):
        return Teacher(self.word)


class Teacher(turnmix.Teacher):
    def __init__(self, word):
        self.word = word

    def policy(self):
        return Policy(self.word)


class Policy:
    name = "terse"

    def __init__(self, word):
        self.word = word

    def begin(self, episode):
        return Session(self.word, episode)

    async def close(self):
        pass


class Session:
    def __init__(self, word, episode):
        self.word, self.episode = word, episode

    async def look(self):
        pass

    async def act(self, state):
        # FAULT
        return turnmix.call_action("finish", message=self.word)

    async def close(self):
        pass
"""
FAULT = "assert not self.episode.trajectory_id.startswith('i002')"
RECIPE = {
    "method": "dagger",
    "iterations": 2,
    "tasks": {"train": 40, "holdout": 8},
    "student": {"model": "nano-student", "cohort_size": 2, "max_new_tokens": 16},
    "teacher": {"kind": "my_teacher:Terse", "word": "done"},
    "scaffold": {"max_turns": 3},
    "rollouts": {"tasks_per_iteration": 2, "concurrency": 4},
    "data": {"filter": "all"},
    "learner": {"learning_rate": 1e-3, "epochs": 1},
    "evaluation": {"tasks": 1, "every": 2, "base": "late"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own_teacher")
    (folder / "small.yaml").write_text(json.dumps(RECIPE))
    return folder


def turnmix(folder, *words, code=0):
    done = run_turnmix(*words, cwd=folder)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_fault_of_a_teacher_in_the_middle_of_a_run_stops_it_and_mended_it_goes_on(folder):
    (folder / "my_teacher.py").write_text(TEACHER.replace("# FAULT", FAULT))
    said = turnmix(folder, "train", "small.yaml", "--run", "run", code=1)
    line = TEACHER[: TEACHER.index("# FAULT")].count("\n") + 1
    assert said.splitlines()[-1] == (
        f"turnmix: my_teacher.py:{line} (my_teacher:Terse): AssertionError; go on with: turnmix train --resume run"
    )
    run = read_run(folder / "run")
    assert [each.iteration for each in run.trajectories()] == [1, 1]
    assert run.recipe.teacher.kind == "my_teacher:Terse"
    assert "my_teacher" not in sys.modules
    (folder / "my_teacher.py").write_text(TEACHER)
    turnmix(folder, "train", "--resume", "run")
    assert [each.iteration for each in run.trajectories()] == [1, 1, 2, 2]
    labels = [turn.label.message.tool_calls for each in run.trajectories() for turn in each.turns]
    assert {(call.name, call.arguments["message"]) for (call,) in labels} == {("finish", "done")}


def test_a_teacher_of_ones_own_is_evaluated_and_examined_as_any_other(folder):
    (folder / "my_teacher.py").write_text(TEACHER)
    said = turnmix(folder, "evaluate", "teacher", "small.yaml", "evaluation.tasks=2")
    assert "teacher: my_teacher:Terse" in said
    assert "stopped by: finished 2" in said
    assert (folder / "evaluations" / "teacher-my_teacher-Terse-small" / "results.json").is_file()
    mistake = turnmix(folder, "train", "small.yaml", "teacher.wrod=x", code=2)
    assert "teacher.wrod: unknown key of my_teacher:Terse; did you mean 'word'?" in mistake
