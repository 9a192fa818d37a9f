import random

import pytest
from recorded_trajectories import labelled_turn, trajectory

from turnmix.core.message import Message
from turnmix.core.trajectory import Action, StopReason, Verdict
from turnmix.methods.filters import apply_filter
from turnmix.methods.registry import METHODS, methods_table
from turnmix.methods.targets import TargetCounts, count_targets, executed_action
from turnmix.policies.scripted import text_action

RESOLVED = Verdict(resolved=True, submitted=True, passed=1, failed=0)
SUBMITTED = Verdict(resolved=False, submitted=True, passed=0, failed=1)
EMPTY = Verdict(resolved=False, submitted=False, passed=0, failed=1)


def taught(method, *trajectories):
    return METHODS[method].transitions(list(trajectories), random.Random(0))


@pytest.mark.parametrize(
    ("name", "kept", "num_dropped"),
    [("submitted", ["a", "b"], 1), ("resolved", ["a"], 2), ("all", ["a", "b", "c"], 0)],
)
def test_a_filter_keeps_its_own_and_never_an_infra_error(name, kept, num_dropped):
    rolled_out = [
        trajectory("a", verdict=RESOLVED),
        trajectory("b", verdict=SUBMITTED),
        trajectory("broken", verdict=None, stop_reason=StopReason.infra_error),
        trajectory("c", verdict=EMPTY, stop_reason=StopReason.max_turns),
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
    assert count_targets([rolled_out]) == TargetCounts(taught=1, malformed=1, missing=1)
    assert count_targets([rolled_out], executed_action) == TargetCounts(taught=3, malformed=0, missing=0)


def test_a_malformed_student_action_stays_in_the_state_and_its_label_is_taught():
    malformed = Action(
        message=Message(role="assistant", content="<tool_call>{"), parse_error="no closing brace"
    )
    turn = labelled_turn("student", malformed, "label")
    rolled_out = trajectory("a", turn, labelled_turn("teacher", "after"))
    _, second = taught("dagger", rolled_out)
    assert "<tool_call>{" in [message.content for message in second.state.messages]


def test_methods_have_the_rollouts_of_the_paper():
    rows = {name: (method.mixture().kind, method.filter, method.label) for name, method in METHODS.items()}
    assert rows["sft"] == ("teacher", "resolved", False)
    assert rows["dagger"] == ("dagger", "submitted", True)
    assert rows["aggrevate"] == ("aggrevate", "submitted", True)


def test_the_table_has_a_row_for_each_method():
    lines = methods_table().splitlines()
    assert len(lines) == len(METHODS) + 2
    assert {line.count("|") for line in lines} == {5}
    for name, line in zip(METHODS, lines[2:], strict=True):
        assert f"(`{name}`)" in line


def test_a_text_action_is_a_target_like_any_other():
    assert count_targets([trajectory("a", labelled_turn("teacher", text_action("hello")))]).taught == 1
