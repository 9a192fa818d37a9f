"""Which trajectories `turnmix show` lists."""

import pytest

from turnmix.viewing.trajectory_choice import Choice, Row, fair_sample, shortened


def row(number, outcome="resolved", **changes):
    fields = {"task_id": f"task-{number}", "iteration": 1, "num_turns": 3, "num_teacher_turns": 0}
    return Row(
        **{"id": f"i001-{number:05}", "stop_reason": "finished", "outcome": outcome, **fields, **changes}
    )


def outcomes(rows):
    return [each.outcome for each in rows].count("resolved"), len(rows)


@pytest.mark.parametrize(
    ("resolved", "unresolved", "number", "expected"),
    [
        (154, 46, 8, 6),  # 6.16 of 8
        (0, 40, 8, 0),
        (40, 0, 8, 8),
        (1, 1, 8, 1),  # both are listed
        (50, 50, 7, 4),  # 3.5 each: one of them gets the place that is left
    ],
)
def test_a_sample_has_the_proportion_of_the_whole_wherever_its_members_stand(
    resolved, unresolved, number, expected
):
    judged = ["resolved"] * resolved + ["unresolved"] * unresolved
    for order in (judged, judged[::-1]):
        sample = fair_sample([row(place, outcome) for place, outcome in enumerate(order)], number)
        found, size = outcomes(sample)
        assert size == min(number, resolved + unresolved)
        assert abs(found - expected) <= (0 if resolved != unresolved else 1)


def test_a_sample_is_spread_from_first_to_last_in_order_and_each_time_the_same():
    rows = [row(number) for number in range(100)]
    sample = fair_sample(rows, 4)
    assert [each.id for each in sample] == ["i001-00012", "i001-00037", "i001-00062", "i001-00087"]
    assert fair_sample(rows, 4) == sample


@pytest.mark.parametrize(
    ("choice", "held"),
    [
        (Choice(), [0, 1, 2, 3]),
        (Choice(is_resolved=True), [0]),
        (Choice(is_resolved=False), [1, 2]),
        (Choice(iteration=2), [2]),
        (Choice(stop_reason="stuck", is_resolved=False), [1]),
        (Choice(task="task-3"), [3]),
        (Choice(task="task-3", iteration=2), []),
    ],
)
def test_a_choice_holds_what_meets_all_of_it_and_what_was_not_judged_is_neither(choice, held):
    rows = [
        row(0),
        row(1, "unresolved", stop_reason="stuck"),
        row(2, "no patch", iteration=2),
        row(3, "not judged", stop_reason="infra_error"),
    ]
    assert [int(each.id[-5:]) for each in rows if choice.holds(each)] == held
    assert choice.is_all == (len(held) == 4)


def test_a_long_id_keeps_what_tells_it_from_others():
    assert shortened("django__django-11099", 20) == "django__django-11099"
    short = [shortened("getmoto__moto.694ce1f4.combine_file__" + end, 24) for end in ("0zyhhzdr", "1kjbqbf2")]
    assert short[0] != short[1]
    assert {len(each) for each in short} == {24}
