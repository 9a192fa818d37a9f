"""A scaffold asks a session: who acts is mixed, labels are asked for beside, and its turns are one trajectory."""

import asyncio
from dataclasses import replace

import pytest
from gateway_scaffolds import (
    PLAN,
    TOOL,
    LetterCounter,
    end,
    open_session,
    parts_of,
    request,
    run,
    system,
    told,
    user,
)

from turnmix.core.trajectory import StopReason
from turnmix.gateway.session.session import Session
from turnmix.policies.scripted import call_action


async def linear(session, num_turns):
    """A scaffold that keeps its whole history; the answers."""
    history, answers = [system("Be brief."), user("Count.")], []
    for number in range(num_turns):
        answers.append(await session.answer(request(*history)))
        history += [answers[-1].message, told(answers[-1], f"That was {number}.")]
    return answers


def test_a_scaffold_that_keeps_its_history_makes_a_plain_trajectory():
    async def scenario():
        session = open_session()
        answers = await linear(session, 4)
        return answers, await end(session)

    answers, trajectory = run(scenario())
    assert [turn.actor for turn in trajectory.turns] == ["student", "teacher"] * 2
    assert [turn.opening for turn in trajectory.turns] == [None] * 4
    assert [turn.label is turn.action for turn in trajectory.turns] == [False, True] * 2
    assert all(turn.label is not None for turn in trajectory.turns)
    assert trajectory.prompt == (system("Be brief."), user("Count."))
    assert trajectory.tools == (TOOL,)
    assert trajectory.stop_reason is StopReason.finished
    assert trajectory.verdict.resolved
    # The ids on the wire are the session's own; policies know theirs alone.
    ids = [answer.message.tool_calls[0].id for answer in answers]
    assert len(set(ids)) == 4
    assert all(each.startswith("call_") and each != "call_0" for each in ids)
    for turn in trajectory.turns[:-1]:
        assert [message.tool_call_id for message in turn.observation] == ["call_0"]
    assert trajectory.turns[-1].observation == ()
    assert [message.role for message in trajectory.state(3).messages] == (
        ["system", "user"] + ["assistant", "tool"] * 3
    )


class CountingCounter(LetterCounter):
    """Counts how often it counts a prompt; the first times it fails."""

    def __init__(self, num_failures):
        self.num_failures = num_failures
        self.num_counted = 0
        self.was_asked = asyncio.Event()

    def prompt(self, state):
        self.num_counted += 1
        self.was_asked.set()
        if self.num_counted <= self.num_failures:
            raise ValueError("not now")
        return super().prompt(state)


class PatientTeacher:
    """Answers once the prompt was counted."""

    name = "teacher"

    def __init__(self, counter):
        self.counter = counter

    def begin(self, episode):
        return self

    async def look(self):
        pass

    async def act(self, state):
        await asyncio.wait_for(self.counter.was_asked.wait(), 60)
        return call_action("add")

    async def close(self):
        pass


@pytest.mark.parametrize("num_failures", [0, 1])
def test_the_prompt_of_a_teachers_turn_is_counted_while_the_teacher_is_asked(num_failures):
    async def scenario():
        counter = CountingCounter(num_failures)
        parts = parts_of(teacher=PatientTeacher(counter), actors=lambda turn, state: "teacher")
        session = Session(PLAN, replace(parts, count=counter))
        answer = await session.answer(request(user("Count.")))
        await end(session)
        return answer, counter.num_counted

    answer, num_counted = run(scenario())
    assert answer.prompt_tokens == len("Count.")
    assert num_counted == 1 + num_failures
