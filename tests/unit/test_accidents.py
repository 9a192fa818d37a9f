"""One scripted action in a trajectory: when it happens, and that nobody is taught it."""

import asyncio
import json
from collections import Counter
from dataclasses import replace

import pytest
from recorded_trajectories import labelled_turn, trajectory

from turnmix.core.errors import InfrastructureError, RecipeError, SandboxError, UserError
from turnmix.core.trajectory import Action, Trajectory
from turnmix.environments.counting import CountingSource
from turnmix.environments.environment import accident_of
from turnmix.exchange.messages import path_rows
from turnmix.methods.registry import METHODS
from turnmix.methods.targets import imitate, transition
from turnmix.policies.accident import ScriptedAccident
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action, turn_number
from turnmix.recipe.recipe import load_recipe
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import DaggerMixture, StudentMixture, TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.rollout.teacher_answers import count_teacher_answers
from turnmix.rollout.teacher_share import teacher_share
from turnmix.viewing.transcript import transcript

SLIP = call_action("add", amount=100)


def add_one(episode, state):
    return call_action("add", amount=1) if turn_number(state) < 6 else call_action("finish")


def accidents(**changes):
    settings = {"policy": CountingSource().accident("breaking"), "turns": (2, 4), "seed": 0, **changes}
    return Accidents(**settings)


def rolled_out(befalling=None, *, mixture=None, number=8, samples=1, source=None, **more):
    source = source or CountingSource()
    plans = make_plans(
        source.tasks("train")[:number],
        iteration=1,
        seed=0,
        cohort_size=2,
        beta=None,
        samples_per_task=samples,
    )
    options = {"label": True, "teacher": source.expert(), "concurrency": 8, "backoff_seconds": 0.0, **more}
    return asyncio.run(
        collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=ScriptedPolicy("student", add_one),
                mixture=mixture or StudentMixture(),
                accidents=befalling,
                **options,
            )
        )
    )


def actors(each):
    return [turn.actor for turn in each.turns]


def timeless(trajectories):
    """What happened, but for how long it took."""
    return [
        replace(each, turns=tuple(replace(turn, seconds={}) for turn in each.turns)) for each in trajectories
    ]


@pytest.mark.parametrize("mixture", [StudentMixture(), TeacherMixture(), DaggerMixture(start=0.5, floor=0.5)])
def test_it_happens_once_whoevers_turn_it_is_and_is_labelled_where_labels_are_asked_for(mixture):
    for each in rolled_out(accidents(turns=(1, 2)), mixture=mixture):
        at = actors(each).index("accident")
        assert (actors(each).count("accident"), at in (0, 1)) == (1, True)
        befell = each.turns[at]
        assert befell.action == SLIP
        assert befell.label not in (None, SLIP)
        assert befell.observation[0].content.startswith("the counter is at 10")


def test_without_labels_it_has_none():
    (each,) = rolled_out(accidents(), mixture=TeacherMixture(), label=False, number=1)
    assert [turn.label is None for turn in each.turns] == [actor == "accident" for actor in actors(each)]


def test_the_turn_of_a_task_depends_on_the_seed_and_the_task_alone():
    drawn = [accidents().turn_of(f"task {number}") for number in range(300)]
    assert drawn == [accidents().turn_of(f"task {number}") for number in range(300)]
    assert drawn != [accidents(seed=1).turn_of(f"task {number}") for number in range(300)]
    # A third each: off by 30 of 300 is 3.7 standard deviations.
    assert all(abs(count - 100) < 30 for count in Counter(drawn).values())
    assert set(drawn) == {2, 3, 4}
    shared = [accidents(share=0.25).turn_of(f"task {number}") for number in range(300)]
    # Which tasks have one does not move their turns.
    assert [each in (None, other) for each, other in zip(shared, drawn)] == [True] * 300
    assert abs(sum(each is not None for each in shared) - 75) < 30
    groups = rolled_out(accidents(), samples=3)
    for first in range(0, len(groups), 3):
        assert len({actors(each).index("accident") for each in groups[first : first + 3]}) == 1


def test_what_cannot_happen_in_a_state_is_tried_again_in_the_next_turn():
    def from_the_third(episode, state):
        return SLIP if turn_number(state) >= 3 else None

    befalling = accidents(policy=ScriptedAccident("late", from_the_third), turns=(1, 1))
    assert {actors(each).index("accident") for each in rolled_out(befalling)} == {3}
    never = accidents(policy=ScriptedAccident("never", lambda episode, state: None))
    assert {actor for each in rolled_out(never) for actor in actors(each)} == {"student"}
    assert timeless(rolled_out(never)) == timeless(rolled_out())


def test_it_draws_from_its_task_and_looks_into_the_world_as_a_teacher_does():
    seen = []

    def noted(episode, state):
        seen.append((episode.task.id, episode.seed, episode.privileged_view().count))
        return SLIP

    first = rolled_out(accidents(policy=ScriptedAccident("noted", noted), turns=(2, 2)), samples=2, number=2)
    assert len(first) == len(seen) == 4
    assert len(set(seen)) == 2
    assert {count for *_, count in seen} == {1}


def test_the_others_act_and_draw_as_without_it():
    mixture = DaggerMixture(start=0.5, floor=0.5)
    befallen, plain = rolled_out(accidents(), mixture=mixture), rolled_out(mixture=mixture)
    for with_one, without in zip(befallen, plain):
        at = actors(with_one).index("accident")
        assert actors(with_one)[:at] == actors(without)[:at]
        behind = min(len(with_one.turns), len(without.turns))
        assert actors(with_one)[at + 1 : behind] == actors(without)[at + 1 : behind]


def test_an_attempt_that_failed_has_it_again():
    class Failing(CountingSource):
        failures = 1

        def environment(self, task):
            world = super().environment(task)
            step = world.step

            async def failing(action):
                if action == SLIP and self.failures:
                    self.failures -= 1
                    raise SandboxError("the sandbox died")
                return await step(action)

            world.step = failing
            return world

    (each,) = rolled_out(accidents(), number=1, source=Failing())
    assert (each.attempts, actors(each).count("accident")) == (2, 1)
    source = Failing()
    source.failures = 9
    (lost,) = rolled_out(accidents(), number=1, source=source)
    assert (lost.stop_reason.value, lost.error) == ("infra_error", "SandboxError: the sandbox died")
    assert issubclass(SandboxError, InfrastructureError)


def test_one_that_says_something_else_than_an_action_is_told():
    said = accidents(policy=ScriptedAccident("wrong", lambda episode, state: "rm -rf"))
    with pytest.raises(
        UserError, match=r"an accident was 'rm -rf': its session's act\(state\) returns an Action"
    ):
        rolled_out(said, number=1)


def befallen(label="right"):
    return trajectory(
        "a",
        labelled_turn("teacher", "look"),
        labelled_turn("accident", "slip", label),
        labelled_turn("teacher", "restore"),
        labelled_turn("student", sampled(), "finish"),
    )


def sampled():
    return Action(message=text_action("own").message, token_ids=(1, 2), logprobs=(-0.1, -0.2))


TAUGHT = {
    "sft": ["look", "restore", "own"],
    "oec": ["look", "restore"],
    "dagger": ["look", "right", "restore", "finish"],
    "aggrevate": ["look", "right", "restore", "finish"],
    "on_policy_labels": ["look", "right", "restore", "finish"],
    "gkd": ["look", "restore", "own"],
    **{name: ["own"] for name in ("opd", "guided_opd", "tcod_forward", "tcod_backward", "reopd")},
    "grpo": ["own", "own"],
}


@pytest.mark.parametrize("name", METHODS)
def test_no_method_teaches_it_and_what_follows_is_taught_in_the_state_that_it_led_to(name):
    method, each = METHODS[name], befallen()
    lost = replace(each, id="b", verdict=replace(each.verdict, resolved=False))
    group = [each, lost] if name == "grpo" else [each]
    taught = method.transitions(group, method.objective)
    assert [one.target.message.content for one in taught.transitions] == TAUGHT[name]
    seen = [message.content for message in taught.transitions[-1].state.messages]
    assert "slip" in seen
    assert taught.figures.get("targets_missing", 0) == 0


def test_a_method_of_ones_own_cannot_teach_it_either():
    executed = imitate([befallen()], lambda turn: turn.action)
    assert [one.target.message.content for one in executed.transitions] == ["look", "restore", "own"]
    each = befallen()
    with pytest.raises(ValueError, match="a, turn 2: an accident is never taught: teach the turn's label"):
        transition(each, 1, each.turns[1].action)
    (row,) = path_rows(each)
    (slip,) = [message for message in row["messages"] if message["content"] == "slip"]
    assert slip["weight"] == 0


def test_it_counts_as_neither_the_students_nor_the_teachers_and_its_label_as_an_answer():
    share = teacher_share([befallen()], count_tokens=lambda action: 10)
    assert (share.num_turns, share.num_teacher_turns, share.num_accidents) == (3, 2, 1)
    assert (share.by_turns, share.by_tokens) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert count_teacher_answers([befallen()]).answers == 4
    assert count_teacher_answers([befallen(label=None)]).answers == 3


def test_it_is_stored_and_read_back_and_a_person_sees_it():
    stored = json.loads(json.dumps(befallen().to_json()))
    assert Trajectory.from_json(stored) == befallen()
    lines = [line.text for line in transcript(befallen(), width=100)]
    assert "resolved: finished after 1 student and 2 teacher turns and an accident; iteration 1" in lines
    assert "turn 2  accident  ≠ teacher" in lines
    assert [line.part for line in transcript(befallen()) if line.text.startswith("turn 2")] == ["accident"]


def test_a_teacher_takes_over_where_its_step_is_of_a_kind_and_labels_the_other_turns():
    source = CountingSource()

    def helped(*kinds, **more):
        return rolled_out(
            takes_over=lambda action, state, turns: source.step_kind(action) in kinds, label=False, **more
        )

    for each, goal in ((each, source._goals[each.task_id]) for each in helped("finish")):
        # The student adds 1 six times; the teacher finishes once the goal is reached.
        assert actors(each) == ["student"] * min(goal, 6) + ["teacher" if goal <= 6 else "student"]
        assert all(turn.label is not None for turn in each.turns)
        assert each.turns[-1].label is each.turns[-1].action or goal > 6
    assert all(each.verdict.resolved for each in helped("add", "finish"))
    assert {actor for each in helped("other") for actor in actors(each)} == {"student"}
    (both,) = helped("add", befalling=accidents(turns=(1, 1)), number=1)
    assert actors(both)[:2] == ["accident", "teacher"]
    assert both.turns[0].label is not None
    with pytest.raises(UserError, match="no teacher"):
        rolled_out(takes_over=lambda action, state, turns: True, label=False, teacher=None)


WRONG = {
    "kind=12": "rollouts.accidents.kind",
    "share=1.5": "rollouts.accidents.share",
    "share=.nan": "rollouts.accidents.share",
    "turns=[0,3]": "turns must be [first, last] with 1 <= first <= last, not [0, 3]",
    "turns=[5,2]": "turns must be [first, last] with 1 <= first <= last, not [5, 2]",
    "turns=3": "rollouts.accidents.turns",
    "turns=[1,1e99]": "rollouts.accidents.turns",
    "rate=1": "rollouts.accidents.rate",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_setting_that_cannot_be_is_told_in_one_line(words):
    with pytest.raises(RecipeError) as told:
        load_recipe("minirepo_dagger", [f"rollouts.accidents.{words}"])
    (line,) = [line for line in str(told.value).splitlines() if "accidents" in line]
    assert WRONG[words] in line


def test_accidents_are_refused_where_none_can_happen():
    for words, complaint in (
        (
            ["method=sft", "data.messages=[rows.jsonl]", "evaluation.tasks=0"],
            "nothing is rolled out where data.messages is given",
        ),
        (
            ["scaffold.tool_calls=text", "teacher.kind=local", "teacher.model=nano-student"],
            "accidents call tools natively",
        ),
    ):
        with pytest.raises(RecipeError, match=f"rollouts.accidents.kind: 'breaking': {complaint}"):
            load_recipe("minirepo_dagger", ["rollouts.accidents.kind=breaking", *words])
    with pytest.raises(
        UserError, match=r"kind: 'breakin': these tasks have no such accident: minirepo has breaking"
    ):
        accident_of(CountingSource(), "breakin", field="kind")
    with pytest.raises(UserError, match="these tasks have no such accident"):
        accident_of(object(), "breaking")


class _Silent:
    """An accident that looks, and never says what happens."""

    name = "silent"

    def begin(self, episode):
        return self

    async def look(self):
        pass

    async def act(self, state):
        await asyncio.Event().wait()

    async def close(self):
        pass


def test_an_accident_that_never_answers_is_a_failure_around_the_agent_that_says_so_and_ends():
    ended = rolled_out(accidents(policy=_Silent(), most_seconds=0.01), number=1, attempts=1)
    assert [each.stop_reason.value for each in ended] == ["infra_error"]
    assert "an accident said nothing in 0.01 seconds" in ended[0].error
