"""Turns recorded without an environment: whoever drives brings the states and the observations."""

import asyncio
from itertools import count

import pytest
from recording_world import RecordingPolicy, RecordingSource

from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.policies.policy import Episode
from turnmix.rollout.turn_recorder import TurnRecorder

PROMPT = (Message(role="user", content="Count."),)


def recorder_of(actors, *, label=True):
    source = RecordingSource()
    episode = Episode(trajectory_id="i", task=source.tasks("train")[0], seed=0)
    ticks = count()
    return source, TurnRecorder(
        student=RecordingPolicy("student", source).begin(episode),
        teacher=RecordingPolicy("teacher", source).begin(episode),
        actors=lambda turn, state: actors[turn],
        label=label,
        clock=lambda: next(ticks),
    )


def drive(recorder, num_turns):
    """A scaffold of somebody else's: it makes its states as it likes, here of the last observation alone."""

    async def run():
        state = State(messages=PROMPT, tools=())
        try:
            for number in range(num_turns):
                await recorder.act(state)
                told = (Message(role="user", content=f"That was {number}."),)
                recorder.observe(told)
                state = State(messages=(*PROMPT, *told), tools=())
            await recorder.dismiss_student()
            await recorder.attach_labels()
        finally:
            await recorder.close()
        return recorder.turns

    return asyncio.run(asyncio.wait_for(run(), 300))


def test_states_that_somebody_else_makes_are_acted_in_labelled_and_observed():
    _, recorder = recorder_of(["student", "teacher", "student"])
    turns = drive(recorder, 3)
    assert [turn.actor for turn in turns] == ["student", "teacher", "student"]
    assert [turn.action.message.tool_calls[0].arguments["amount"] for turn in turns] == [1, 100, 1]
    assert [turn.label.message.tool_calls[0].arguments["amount"] for turn in turns] == [100, 100, 100]
    assert [turn.label is turn.action for turn in turns] == [False, True, False]
    assert [turn.observation[0].content for turn in turns] == [f"That was {number}." for number in range(3)]
    assert set(recorder.usage) == {"student", "teacher"}
    assert all(turn.seconds["act"] > 0 and turn.seconds["step"] > 0 for turn in turns)


def test_a_gate_chooses_the_states_that_are_labelled():
    _, recorder = recorder_of(["student"] * 3, label=lambda state: len(state.messages) > 1)
    assert [turn.label is not None for turn in drive(recorder, 3)] == [False, True, True]


def test_closing_in_the_middle_of_a_turn_keeps_the_turns_that_were_observed():
    source, recorder = recorder_of(["student", "student"])

    async def run():
        await recorder.act(State(messages=PROMPT, tools=()))
        recorder.observe(())
        await recorder.act(State(messages=PROMPT, tools=()))
        await recorder.close()

    asyncio.run(run())
    assert len(recorder.turns) == 1
    assert {event.split()[1] for event in source.events if event.startswith("close")} == {
        "student",
        "teacher",
    }


def test_an_action_and_its_observation_take_turns():
    _, recorder = recorder_of(["student", "student"])

    async def run():
        with pytest.raises(ValueError, match="call `act` first"):
            recorder.observe(())
        await recorder.act(State(messages=PROMPT, tools=()))
        with pytest.raises(ValueError, match="call `observe` first"):
            await recorder.act(State(messages=PROMPT, tools=()))
        await recorder.close()

    asyncio.run(run())
