import pytest
from recorded_trajectories import labelled_turn, trajectory

from turnmix.core.trajectory import StopReason
from turnmix.rollout.share import teacher_share


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
