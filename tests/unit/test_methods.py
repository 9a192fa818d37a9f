import asyncio
import random
from dataclasses import replace

import pytest
from recorded_trajectories import labelled_turn, trajectory

from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.environments.counting import CountingSource
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.methods.filters import apply_filter
from turnmix.methods.grpo import group_advantages
from turnmix.methods.registry import METHODS, methods_table
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import DaggerMixtureSettings, TeacherMixtureSettings
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest

RESOLVED = patch_verdict(resolved=True, submitted=True, passed=1, failed=0)
SUBMITTED = patch_verdict(resolved=False, submitted=True, passed=0, failed=1)
EMPTY = patch_verdict(resolved=False, submitted=False, passed=0, failed=1)


def taught(method, *trajectories, **objective):
    return result(method, *trajectories, **objective).transitions


def result(method, *trajectories, **objective):
    settings = type(METHODS[method].objective)(**objective)
    return METHODS[method].transitions(list(trajectories), settings)


def sampled(*token_ids, parse_error=None):
    """A student's action with its tokens, each sampled with log π = −token/10."""
    return Action(
        message=Message(role="assistant", content="said"),
        token_ids=token_ids,
        logprobs=tuple(-token / 10 for token in token_ids),
        parse_error=parse_error,
    )


@pytest.mark.parametrize(
    ("name", "kept", "num_dropped"),
    [
        ("submitted", ["a", "b"], 2),
        ("resolved", ["a"], 3),
        ("finished", ["a", "b", "d"], 1),
        ("all", ["a", "b", "c", "d"], 0),
    ],
)
def test_a_filter_keeps_its_own_and_never_an_infra_error(name, kept, num_dropped):
    rolled_out = [
        trajectory("a", verdict=RESOLVED),
        trajectory("b", verdict=SUBMITTED),
        trajectory("broken", verdict=None, stop_reason=StopReason.infra_error),
        trajectory("c", verdict=EMPTY, stop_reason=StopReason.max_turns),
        trajectory("d", verdict=EMPTY),
    ]
    filtered = apply_filter(name, rolled_out)
    assert [one.id for one in filtered.kept] == kept
    assert (filtered.num_dropped, filtered.num_infra_errors) == (num_dropped, 1)


@pytest.mark.parametrize("method", ["dagger", "aggrevate"])
def test_the_label_is_taught_in_the_state_that_execution_reached(method):
    rolled_out = trajectory("a", labelled_turn("student", "wrong", "right"), labelled_turn("teacher", "next"))
    first, second = taught(method, rolled_out)
    assert (first.target.message.content, second.target.message.content) == ("right", "next")
    assert second.state == rolled_out.state(1)
    assert "wrong" in [message.content for message in second.state.messages]
    assert "right" not in [message.content for message in second.state.messages]
    assert (first.weight, first.trajectory_id) == (1.0, "a")


def test_sft_teaches_the_executed_action():
    rolled_out = trajectory("a", labelled_turn("teacher", "one"), labelled_turn("teacher", "two"))
    assert [transition.target.message.content for transition in taught("sft", rolled_out)] == ["one", "two"]


def test_a_malformed_target_is_not_taught_but_counted():
    malformed = Action(
        message=Message(role="assistant", content="<tool_call>{"), parse_error="no closing brace"
    )
    turns = (
        labelled_turn("student", "a", malformed),
        labelled_turn("student", "b", "label"),
        labelled_turn("student", "c", None),
    )
    rolled_out = trajectory("a", *turns)
    assert [one.target.message.content for one in taught("dagger", rolled_out)] == ["label"]
    assert result("dagger", rolled_out).figures == {"targets_malformed": 1, "targets_missing": 1}
    assert result("sft", rolled_out).figures == {"targets_malformed": 0, "targets_missing": 0}


def test_a_malformed_student_action_stays_in_the_state_and_its_label_is_taught():
    malformed = Action(
        message=Message(role="assistant", content="<tool_call>{"), parse_error="no closing brace"
    )
    turn = labelled_turn("student", malformed, "label")
    rolled_out = trajectory("a", turn, labelled_turn("teacher", "after"))
    _, second = taught("dagger", rolled_out)
    assert "<tool_call>{" in [message.content for message in second.state.messages]


def test_methods_have_the_rollouts_of_the_paper():
    rows = {name: (method.mixture.kind, method.filter, method.label) for name, method in METHODS.items()}
    assert rows["sft"] == ("teacher", "resolved", False)
    assert rows["dagger"] == ("dagger", "submitted", True)
    assert rows["aggrevate"] == ("aggrevate", "submitted", True)
    assert rows["opd"] == ("student", "submitted", False)
    assert rows["grpo"] == ("student", "all", False)
    assert rows["oec"] == ("aggrevate", "resolved", False)
    assert rows["on_policy_labels"] == ("student", "all", True)
    assert rows["guided_opd"] == ("dagger", "all", False)
    assert rows["tcod_forward"] == ("aggrevate", "all", False)
    assert rows["tcod_backward"] == ("teacher_prefix", "all", False)
    assert rows["reopd"] == ("teacher_prefix", "all", False)
    assert rows["gkd"] == ("trajectory", "all", False)


@pytest.mark.parametrize(
    ("name", "acts"),
    [
        ("guided_opd", {5: "s s s s s s"}),  # before, it is drawn
        ("tcod_forward", {1: "s s t t t t", 2: "s s s s t t", 3: "s s s s s s"}),
        ("tcod_backward", {4: "t t t t s s", 5: "t t s s s s", 6: "s s s s s s"}),
        ("on_policy_labels", {1: "s s s s s s"}),
    ],
)
def test_who_acts_turn_by_turn(name, acts):
    mixture = METHODS[name].mixture.make()
    for iteration, expected in acts.items():
        actor = mixture.actors(iteration, random.Random(iteration))
        acted = [actor(turn, State(messages=(), tools=())) for turn in range(6)]
        assert [each[0] for each in acted] == expected.split()


def test_guided_opd_lets_the_teacher_act_ever_less_and_not_at_all_in_the_fifth_iteration():
    mixture = METHODS["guided_opd"].mixture.make()
    assert [mixture.beta(i) for i in range(1, 7)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0, 0])


@pytest.mark.parametrize("name", ["guided_opd", "tcod_forward", "tcod_backward", "reopd"])
def test_relatives_of_opd_teach_the_students_turns_as_sampled_and_none_of_the_teachers(name):
    rolled_out = trajectory(
        "a",
        labelled_turn("teacher", "begin"),
        labelled_turn("student", sampled(5, 6, parse_error="no closing brace")),
        replace(labelled_turn("student", sampled(7)), is_rejected=True),
        labelled_turn("student", sampled(8)),
        labelled_turn("teacher", "end"),
    )
    outcome = result(name, rolled_out)
    assert [each.target.token_ids for each in outcome.transitions] == [(5, 6), (8,)]
    assert [each.state for each in outcome.transitions] == [rolled_out.state(1), rolled_out.state(3)]
    assert {each.weight for each in outcome.transitions} == {1.0}
    assert outcome.figures == {"targets_rejected": 1}
    assert all(each.sampled_logprobs is not None for each in taught(name, rolled_out, ratio=True))


def test_gkd_teaches_what_whoever_acted_did_once_and_counts_what_it_does_not():
    malformed = Action(message=Message(role="assistant", content="<tool_call>{"), parse_error="no brace")
    students = trajectory(
        "a",
        labelled_turn("student", sampled(5, 6, parse_error="no closing brace")),
        replace(labelled_turn("student", sampled(7)), is_rejected=True),
        labelled_turn("student", sampled(8)),
    )
    teachers = trajectory(
        "b",
        labelled_turn("teacher", "look"),
        labelled_turn("teacher", malformed),
        replace(labelled_turn("teacher", "dropped"), is_rejected=True),
    )
    outcome = result("gkd", students, teachers)
    said = sorted(
        (each.trajectory_id, each.target.token_ids) for each in outcome.transitions if each.target.token_ids
    )
    assert said == [("a", (5, 6)), ("a", (8,))]
    (other,) = [each for each in outcome.transitions if each.trajectory_id == "b"]
    assert (other.target.message.content, other.state, other.weight) == ("look", teachers.state(0), 1.0)
    assert outcome.figures == {"targets_malformed": 1, "targets_rejected": 2}


def test_on_policy_labels_teach_the_teachers_answer_in_each_state_that_the_student_reached():
    rolled_out = trajectory(
        "a", labelled_turn("student", "wrong", "right"), labelled_turn("student", "on", "back")
    )
    first, second = taught("on_policy_labels", rolled_out)
    assert (first.target.message.content, second.target.message.content) == ("right", "back")
    assert (first.state, second.state) == (rolled_out.state(0), rolled_out.state(1))


def test_the_table_has_a_row_for_each_method():
    lines = methods_table().splitlines()
    assert len(lines) == len(METHODS) + 2
    assert {line.count("|") for line in lines} == {5}
    for name, line in zip(METHODS, lines[2:], strict=True):
        assert f"(`{name}`)" in line


def test_oec_teaches_the_teachers_turns_alone_in_the_states_after_the_students_prefix():
    rolled_out = trajectory("a", labelled_turn("student", "wander"), labelled_turn("teacher", "repair"))
    (only,) = taught("oec", rolled_out)
    assert only.target.message.content == "repair"
    assert only.state == rolled_out.state(1)


def roll_out(mixture):
    """What a teacher without chance does in the counting world."""

    def teach(episode, state):
        goal = int(episode.task.problem_statement.split(",")[0].split()[-1])
        reached = sum(message.role == "assistant" for message in state.messages)
        return call_action("add", amount=1) if reached < goal else call_action("finish")

    source = CountingSource()
    plans = make_plans(source.tasks("train")[:4], iteration=1, seed=0, cohort_size=2, beta=1.0)
    return asyncio.run(
        collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=ScriptedPolicy("student", lambda episode, state: call_action("finish")),
                teacher=ScriptedPolicy("teacher", teach),
                mixture=mixture.make(),
                label=mixture.kind == "dagger",
                concurrency=4,
            )
        )
    )


def test_dagger_at_beta_1_with_a_deterministic_teacher_gives_sfts_transitions():
    mixtures = DaggerMixtureSettings(floor=1.0), TeacherMixtureSettings()
    dagger, sft = (
        sorted(
            taught(method, *roll_out(mixture)),
            key=lambda each: (each.trajectory_id, len(each.state.messages)),
        )
        for method, mixture in zip(("dagger", "sft"), mixtures, strict=True)
    )
    assert dagger == sft
    assert len(sft) > 8


def test_opd_teaches_the_students_tokens_also_of_a_malformed_call_and_none_of_the_teachers():
    rolled_out = trajectory(
        "a",
        labelled_turn("student", sampled(5, 6, parse_error="no closing brace")),
        labelled_turn("teacher", "repair"),
        labelled_turn("student", sampled()),
    )
    (only,) = taught("opd", rolled_out)
    assert (only.target.token_ids, only.weight, only.reference_logprobs) == ((5, 6), 1.0, None)


def test_opd_with_a_ratio_brings_what_the_student_thought_of_its_tokens():
    known = labelled_turn("student", sampled(5, 6))
    partly = labelled_turn("student", replace(sampled(5, 6), logprobs=(None, -0.6)))
    first, second = taught("opd", trajectory("a", known, partly), ratio=True)
    assert (first.sampled_logprobs, first.weight, first.reference_logprobs) == ((-0.5, -0.6), 1.0, None)
    assert (second.sampled_logprobs, second.weight) == ((0.0, -0.6), (0.0, 1.0))


def group(task, *outcomes):
    return [
        replace(
            trajectory(
                f"{task}-{place}",
                labelled_turn("student", sampled(place)),
                verdict=RESOLVED if is_resolved else SUBMITTED,
            ),
            task_id=task,
        )
        for place, is_resolved in enumerate(outcomes)
    ]


def test_grpo_weighs_a_rollout_by_how_much_better_than_its_group_it_ended():
    """One of four resolved: mean 1/4, standard deviation √(1/4 · 3/4) = √3/4.
    Advantages (1 − 1/4) / (√3/4) = √3 and (0 − 1/4) / (√3/4) = −1/√3."""
    transitions = taught("grpo", *group("t", True, False, False, False))
    assert [each.weight for each in transitions] == pytest.approx([3**0.5] + 3 * [-(3**-0.5)])
    assert [each.reference_logprobs for each in transitions] == [(-0.0,), (-0.1,), (-0.2,), (-0.3,)]
    centred = taught("grpo", *group("t", True, False, False, False), divide_by_std=False)
    assert [each.weight for each in centred] == [0.75, -0.25, -0.25, -0.25]


def test_a_reward_of_the_world_counts_in_place_of_resolved():
    """Rewards 0, 2 and 4, the first of them resolved: mean 2, deviation √(8/3)."""
    rolled_out = [
        replace(each, verdict=replace(each.verdict, reward=reward))
        for each, reward in zip(group("t", True, False, False), (0.0, 2.0, 4.0), strict=True)
    ]
    deviation = (8 / 3) ** 0.5
    weights = [each.weight for each in taught("grpo", *rolled_out)]
    assert weights == pytest.approx([-2 / deviation, 0, 2 / deviation])
    assert [each.weight for each in taught("grpo", *rolled_out, divide_by_std=False)] == [-2, 0, 2]


@pytest.mark.parametrize("rewards", [(0.1 + 0.2, 0.3), (1e308, 1e308 * (1 - 1e-15)), (-0.0, 0.0)])
def test_rewards_that_differ_by_rounding_alone_are_equal(rewards):
    assert group_advantages(rewards, divide_by_std=True) is None


def test_rewards_of_any_size_have_the_advantages_of_their_shape():
    expected = group_advantages([3, 1, 0], divide_by_std=True)
    for size in (1e-300, 1.0, 5e307):
        assert group_advantages([3 * size, size, 0], divide_by_std=True) == pytest.approx(expected)


def test_a_token_without_its_log_probability_is_not_taught_by_a_ratio():
    one, *others = group("t", True, False)
    turn = one.turns[0]
    action = replace(turn.action, token_ids=(7, 8), logprobs=(None, -0.25))
    first, *_ = taught("grpo", replace(one, turns=(replace(turn, action=action),)), *others)
    assert (first.weight, first.reference_logprobs) == ((0.0, 1.0), (0.0, -0.25))
    assert first.num_without_weight == 1


def test_grpo_drops_and_counts_groups_without_spread():
    rolled_out = [*group("all", True, True), *group("none", False, False), *group("some", True, False)]
    outcome = result("grpo", *rolled_out, *group("alone", True))
    assert {each.task_id for each in outcome.transitions} == {"some"}
    assert outcome.figures == {"groups": 4, "groups_without_spread": 3}


def test_the_same_task_in_two_iterations_makes_two_groups():
    first, second = group("t", True), [replace(each, iteration=2) for each in group("t", False)]
    assert result("grpo", *first, *second).figures == {"groups": 2, "groups_without_spread": 2}


@pytest.mark.parametrize("rewards", [[], [1.0], [0.5, 0.5]])
def test_rewards_without_spread_have_no_advantage(rewards):
    assert group_advantages(rewards, divide_by_std=True) is None
