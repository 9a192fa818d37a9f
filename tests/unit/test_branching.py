"""A trajectory holds lines that branch: each turn's state is what was asked, also read back from a store."""

import json
from dataclasses import replace

import pytest

import branching
from branching import Recorded, at_random, user
from sampled_turns import stored
from turnmix.core.answer_form import AnswerForm
from turnmix.core.errors import UserError
from turnmix.core.lines import ends
from turnmix.core.opening import Opening
from turnmix.store.append_log import TrajectoryLog

FORM = AnswerForm(
    tool_choice="required",
    parallel_tool_calls=False,
    response_format={"type": "json_object"},
    stop=("Observation:",),
    others={"logit_bias": {"5": 1}},
)


@pytest.mark.parametrize("part", range(4))
def test_the_state_of_each_turn_is_what_was_asked(part):
    for seed in range(part, 400, 4):
        made = at_random(seed)
        trajectory = made.trajectory()
        assert [trajectory.state(number) for number in range(len(made.turns))] == made.asked
        assert trajectory.state(len(made.turns)).messages == made.led_to(len(made.turns) - 1)


@pytest.mark.parametrize("part", range(2))
def test_a_store_gives_back_the_same_states_with_the_tokens_that_were_sampled(part):
    for seed in range(part, 100, 2):
        made = at_random(seed)
        trajectory = stored(made.trajectory())
        assert trajectory == made.trajectory()
        for number, state in enumerate(made.asked):
            found = trajectory.state(number)
            assert found == state
            tokens = [message.token_ids for message in found.messages]
            assert tokens == [message.token_ids for message in state.messages]
            spoken = [message for message in found.messages if message.role == "assistant"]
            assert all(message.token_ids for message in spoken)


def test_ends_are_the_turns_that_no_other_turn_goes_on_from():
    for seed in range(100):
        made = at_random(seed)
        before = [
            [*state.messages, turn.action.message] for state, turn in zip(made.asked, made.turns, strict=True)
        ]
        last = [
            number
            for number, led in enumerate(before)
            if not any(list(state.messages[: len(led)]) == led for state in made.asked)
        ]
        assert ends(made.trajectory()) == last


@pytest.mark.parametrize(
    ("made", "last"),
    [
        (branching.condensing(), [2, 4]),
        (branching.branching(), [1, 2, 3, 5]),
        (branching.with_sub_agent(), [5, 6]),
    ],
)
def test_a_history_names_the_turns_whose_actions_it_holds(made, last):
    trajectory = made.trajectory()
    assert ends(trajectory) == last
    for number, state in enumerate(made.asked):
        history = trajectory.history(number)
        held = [f"action {each}" for each in history if isinstance(each, int)]
        assert held == [message.content for message in state.messages if message.role == "assistant"]


def test_what_was_wanted_of_an_answer_is_stored_with_its_turn():
    made = Recorded()
    made.go_on(made.begin(), form=FORM, repeats=2, is_rejected=True)
    turn = stored(made.trajectory()).turns[1]
    assert turn == made.turns[1]
    assert stored(made.trajectory()).state(1).form == FORM
    assert stored(made.trajectory()).state(0).form == AnswerForm()


def test_a_turn_without_an_opening_is_stored_as_before():
    made = Recorded()
    made.go_on(made.begin())
    assert made.turns[1].to_json().keys() == {"actor", "action", "observation", "seconds"}


def trajectory_with(**opening):
    made = Recorded()
    made.go_on(made.begin())
    data = made.trajectory().to_json()
    data["turns"][1]["opening"] = opening
    return data


@pytest.mark.parametrize(
    ("opening", "named"),
    [
        ({"after": 1}, r"turns\.1\.opening\.after: 1: give the number, from 0, of an earlier turn"),
        ({"after": 7}, r"turns\.1\.opening\.after: 7"),
        ({"after": -1}, r"turns\.1\.opening\.after"),
        ({"after": 0, "messages": [1]}, r"turns\.1\.opening\.messages: 1"),
        ({"after": 0, "messages": [-3]}, r"turns\.1\.opening\.messages"),
        ({"after": 0, "shared": -1}, r"turns\.1\.opening\.shared"),
        ({"after": "0"}, r"turns\.1\.opening\.after"),
        ({}, r"turns\.1\.opening\.after"),
        ({"after": 0, "messages": [{"role": "user"}]}, r"turns\.1\.opening\.messages"),
        ({"after": 0, "messages": [0.0]}, r"turns\.1\.opening\.messages"),
        ({"after": 0, "tools": {}}, r"turns\.1\.opening\.tools"),
    ],
)
def test_a_foreign_record_whose_opening_points_nowhere_is_refused_by_its_field(opening, named, tmp_path):
    path = tmp_path / "trajectories.jsonl"
    path.write_text(json.dumps(trajectory_with(**opening)) + "\n")
    with pytest.raises(UserError, match=named) as raised:
        list(TrajectoryLog(path).read(["t1"]))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("form", {"stop": "x"}),
        ("form", {"stop": [""]}),
        ("form", {"others": []}),
        ("form", {"tool_choice": 5}),
        ("form", []),
        ("is_rejected", "yes"),
        ("repeats", -1),
    ],
)
def test_a_foreign_record_of_a_turn_is_held_to_its_types(field, value, tmp_path):
    data = trajectory_with(after=0)
    data["turns"][1][field] = value
    path = tmp_path / "trajectories.jsonl"
    path.write_text(json.dumps(data) + "\n")
    with pytest.raises(UserError, match="is damaged"):
        list(TrajectoryLog(path).read(["t1"]))


def test_a_trajectory_in_a_program_is_held_to_earlier_turns_too():
    made = Recorded()
    made.begin()
    made.turns[0] = replace(made.turns[0], opening=Opening(after=0, messages=(user("x"),)))
    with pytest.raises(ValueError, match=r"turns\.0\.opening\.after"):
        made.trajectory()
