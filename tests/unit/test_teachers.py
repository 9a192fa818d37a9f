"""Who teaches: a teacher of one's own is as good as one that is built in, and what fails in it is told."""

import asyncio
import sys

import pytest

import turnmix
from turnmix.assembly.teacher import make_teacher, student_tokens
from turnmix.core.plugins import is_plugin_name

TEACHER = """\
import turnmix


def fail_at(place, wanted):
    if place == wanted:
        raise KeyError("x")


class Stern(turnmix.TeacherSettings):
    place: str = "nowhere"
    gives_logprobs = True

    def check(self):
        fail_at("check", self.place)
        return [turnmix.Finding(subject="mood", passed=self.place != "mood", detail="smile")]

    def make(self, parts):
        fail_at("make", self.place)
        return "a text" if self.place == "text" else Teacher(self.place)


class Teacher(turnmix.Teacher):
    name = "stern"

    def __init__(self, place):
        self.place = place

    def load(self):
        fail_at("load", self.place)

    def policy(self):
        fail_at("policy", self.place)
        return self

    def begin(self, episode):
        fail_at("begin", self.place)
        return self

    async def look(self):
        fail_at("look", self.place)

    async def act(self, state):
        fail_at("act", self.place)
        if self.place == "unreachable":
            raise turnmix.TeacherError("no answer")
        return "a text"

    async def close(self):
        fail_at("close", self.place)

    def scorer(self, student):
        fail_at("scorer", self.place)
        return self

    usage = None

    def score(self, requests, keep):
        fail_at("score", self.place)
        for request in requests:
            if self.place != "silent":
                keep(request.trajectory_id, [[-1.0]] * (1 if self.place == "short" else len(request.paths)))


class Mute(turnmix.TeacherSettings):
    writes_text_calls = False

    def make(self, parts):
        return Teacher("nowhere")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_teacher.py").write_text(TEACHER)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def recipe(*overrides, kind="my_teacher:Stern", method="dagger"):
    return turnmix.load_recipe({"method": method, "teacher": {"kind": kind}}, overrides)


def use(place):
    """Everything that a run asks of a teacher."""
    chosen = recipe(f"teacher.place={place}")
    teacher = make_teacher(chosen, expert=lambda: None)
    findings = list(teacher.check(is_hurried=False))
    teacher.load()

    async def ask():
        policy = teacher.policy()
        session = policy.begin(None)
        await session.look()
        await session.close()
        await policy.close()
        return await session.act(None) if place in ("act", "unreachable", "answer") else None

    asyncio.run(ask())
    teacher.scorer(student_tokens(chosen, None, max_context=8)).score([], print)
    return findings


@pytest.mark.parametrize(
    "place", ["check", "make", "load", "policy", "begin", "look", "act", "close", "scorer", "score"]
)
def test_what_fails_in_a_teacher_of_ones_own_is_one_line_with_its_file_and_line(here, place):
    with pytest.raises(turnmix.PluginError) as raised:
        use(place)
    (line,) = raised.value.lines
    assert line == "my_teacher.py:6 (my_teacher:Stern): KeyError: 'x'"


def test_a_teacher_that_gives_something_else_than_asked_for_is_told(here):
    with pytest.raises(turnmix.PluginError, match=r"my_teacher:Stern.* act\(\) gave 'a text', not an Action"):
        use("answer")
    with pytest.raises(
        turnmix.PluginError, match=r"teacher.kind: .*make\(\) gives 'a text', not a turnmix.Teacher"
    ):
        use("text")


def scored(place, keep):
    """What `keep` is told of a trajectory of two paths, each of one token."""
    teacher = make_teacher(recipe(f"teacher.place={place}"), expert=lambda: None)
    path = turnmix.TokenPath(prompt_ids=(1, 2), target_ids=(3,))
    scorer = teacher.scorer(student_tokens(recipe(), None, max_context=8))
    scorer.score([turnmix.ScoreRequest(trajectory_id="t", paths=[path, path])], keep)


def test_scores_of_a_teacher_of_ones_own_are_as_many_as_tokens(here):
    found = {}
    scored("nowhere", found.__setitem__)
    assert found == {"t": [[-1.0], [-1.0]]}
    with pytest.raises(turnmix.PluginError, match=r"gave \[1\] numbers for the paths of t, not \[1, 1\]"):
        scored("short", found.__setitem__)
    with pytest.raises(turnmix.PluginError, match=r"gave nothing for t"):
        scored("silent", found.__setitem__)


def test_a_full_disk_is_no_fault_of_the_teacher_whose_scores_are_kept(here):
    def keep(trajectory_id, scores):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        scored("nowhere", keep)


def test_what_a_teacher_raises_on_purpose_is_tried_again_as_of_one_that_is_built_in(here):
    with pytest.raises(turnmix.TeacherError, match=r"^no answer$"):
        use("unreachable")


def test_a_teacher_of_ones_own_says_what_stands_in_its_way(here):
    assert [finding.passed for finding in use("mood")] == [False]
    assert [finding.passed for finding in use("nowhere")] == [True]


def test_a_recipe_asks_a_teacher_of_ones_own_what_it_can_give(here):
    assert is_plugin_name(recipe(method="opd").teacher.kind)
    with pytest.raises(turnmix.RecipeError, match="my_teacher:Mute teacher has none"):
        recipe(kind="my_teacher:Mute", method="opd")
    with pytest.raises(
        turnmix.RecipeError, match="needs all of the teacher's logits, which the my_teacher:Stern"
    ):
        recipe("objective.estimate=full", method="opd")
    with pytest.raises(turnmix.RecipeError, match="my_teacher:Mute teacher writes no calls as text"):
        recipe("scaffold.tool_calls=text", kind="my_teacher:Mute")


def test_the_oracle_is_refused_before_a_run_where_the_tasks_have_no_expert():
    with pytest.raises(turnmix.UserError) as raised:
        make_teacher(turnmix.load_recipe("minirepo_dagger"), expert=lambda: None)
    assert raised.value.lines == (
        "teacher.kind: 'oracle': the tasks of 'minirepo' have no expert: name another teacher, such as "
        "teacher.endpoint=URL teacher.model=NAME, or teacher.kind=local teacher.model=NAME",
    )


def test_no_expert_is_needed_where_the_teacher_neither_acts_nor_labels():
    make_teacher(turnmix.load_recipe("minirepo_dagger", ["method=grpo"]), expert=lambda: None)
