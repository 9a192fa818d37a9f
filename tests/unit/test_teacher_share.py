from dataclasses import replace

import pytest
from recorded_trajectories import labelled_turn, trajectory

from chat_models import TOOLS
from turnmix.core.message import Message
from turnmix.core.trajectory import StopReason
from turnmix.policies.scripted import call_action
from turnmix.rollout.teacher_answers import count_teacher_answers
from turnmix.rollout.teacher_share import teacher_share
from turnmix.scaffold.text_calls import tools_told


def test_the_share_is_told_by_turns_and_by_tokens():
    share = teacher_share(
        [
            trajectory(
                "a", labelled_turn("teacher", "x", tokens=30), labelled_turn("student", "y", tokens=10)
            ),
            trajectory("b", labelled_turn("student", "z", tokens=20)),
        ]
    )
    assert share.by_turns == pytest.approx(1 / 3)
    assert share.by_tokens == pytest.approx(30 / 60)


def test_tokens_that_were_not_counted_give_no_share():
    share = teacher_share(
        [trajectory("a", labelled_turn("teacher", "x"), labelled_turn("student", "y", tokens=1))]
    )
    assert share.by_turns == 0.5
    assert share.by_tokens is None


def test_one_measure_for_both_can_be_given():
    turns = (labelled_turn("teacher", "four"), labelled_turn("student", "a long one!!"))
    share = teacher_share([trajectory("a", *turns)], count_tokens=lambda action: len(action.message.content))
    assert share.by_tokens == 4 / 16


def test_the_label_of_a_student_turn_counts_for_nobody():
    share = teacher_share([trajectory("a", labelled_turn("student", "y", "a label", tokens=5))])
    assert (share.num_teacher_turns, share.num_tokens) == (0, 5)


def test_infra_errors_are_left_out_and_nothing_gives_no_share():
    broken = trajectory("a", labelled_turn("teacher", "x"), verdict=None, stop_reason=StopReason.infra_error)
    share = teacher_share([broken])
    assert (share.num_turns, share.by_turns, share.by_tokens) == (0, None, None)


def test_the_teachers_answers_are_counted_once_and_those_of_infra_errors_not():
    first = replace(
        trajectory(
            "a",
            labelled_turn("teacher", call_action("finish")),
            labelled_turn("student", "s", "hm"),
            labelled_turn("student", "s"),
        ),
        tools=TOOLS,
    )
    lost = replace(
        trajectory("b", labelled_turn("teacher", call_action("finish")), verdict=None), tools=TOOLS
    )
    alone = replace(
        trajectory("c", labelled_turn("student", call_action("finish"), call_action("finish"))), tools=TOOLS
    )
    counted = count_teacher_answers([first, lost, alone])
    assert counted.to_json() == {"answers": 3, "calls": 2, "acted": 1, "resolved": 1}


def test_calls_as_text_count_and_a_world_without_tools_has_none_to_count():
    written = '<tool_call>\n{"name": "finish", "arguments": {}}\n</tool_call>'
    prompt = (Message(role="system", content=tools_told(TOOLS)),)
    as_text = replace(
        trajectory("a", labelled_turn("teacher", written), labelled_turn("teacher", "hm")), prompt=prompt
    )
    assert (count_teacher_answers([as_text]).answers, count_teacher_answers([as_text]).calls) == (2, 1)
    assert count_teacher_answers([trajectory("a", labelled_turn("teacher", "go north"))]).calls is None
