"""What fails behind a session, and what its scaffold or its end does at the wrong moment."""

import asyncio
from dataclasses import replace

import pytest
from gateway_scaffolds import (
    PLAN,
    alternating,
    end,
    open_session,
    parts_of,
    request,
    run,
    says_where,
    student_only,
    told,
    user,
)

from turnmix.core.errors import InfrastructureError, TeacherError, UserError
from turnmix.core.trajectory import StopReason
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.session.session import Session
from turnmix.policies.local.lockstep import Lockstep
from turnmix.policies.scripted import ScriptedPolicy, call_action

TASK = user("Count.")


def failing(name, times, error=None):
    """A policy whose first answers fail."""
    policy = says_where(name)
    asked = []

    def script(episode, state):
        asked.append(state)
        if len(asked) <= times:
            raise error or TeacherError(f"{name}: connection refused")
        return call_action("add", who=name)

    policy = ScriptedPolicy(name, script)
    policy.asked = asked
    return policy


async def until_refused(session):
    for number in range(3):
        try:
            await session.answer(request(user(f"{number}")))
        except RequestError:
            return
    raise AssertionError("all were answered")


def waiting_for(gate, name="student"):
    """A policy whose answers come once `gate` is set."""

    async def sleep(seconds):
        await gate.wait()

    return ScriptedPolicy(name, lambda episode, state: call_action("add", who=name), latency=1, sleep=sleep)


async def refused(session, asked, fault):
    with pytest.raises(RequestError) as raised:
        await session.answer(asked)
    assert raised.value.fault == fault
    return str(raised.value)


def test_a_model_that_cannot_be_asked_costs_no_turn_and_its_retry_asks_the_same_actor_and_no_second_label():
    teacher = says_where("teacher")

    async def scenario():
        drawn = []

        def actors(turn, state):
            drawn.append(turn)
            return "student"

        session = open_session(student=failing("student", 2), teacher=teacher, actors=actors)
        for _ in range(2):
            said = await refused(session, request(TASK), "unavailable")
            assert "student" not in said
            assert "teacher" not in said
        answer = await session.answer(request(TASK))
        await session.answer(request(TASK, answer.message, told(answer, "on")))
        return drawn, await end(session)

    drawn, trajectory = run(scenario())
    assert drawn == [0, 1]
    assert len(teacher.asked) == 2
    assert [turn.opening for turn in trajectory.turns] == [None, None]
    assert all(turn.label is not None for turn in trajectory.turns)
    assert [turn.repeats for turn in trajectory.turns] == [0, 0]
    assert trajectory.stop_reason is StopReason.finished


def test_where_a_model_failed_another_request_may_follow():
    async def scenario():
        session = open_session(student=failing("student", 1))
        await refused(session, request(TASK, user("Fast.")), "unavailable")
        await session.answer(request(TASK, user("Slow.")))
        return await end(session)

    trajectory = run(scenario())
    assert trajectory.prompt == (TASK, user("Slow."))
    assert [turn.label is not None for turn in trajectory.turns] == [True]
    assert trajectory.stop_reason is StopReason.finished


def test_a_session_that_ends_on_a_failure_is_an_infra_error_with_the_turns_so_far():
    async def scenario():
        session = open_session(teacher=failing("teacher", 9), actors=alternating, label=False)
        answer = await session.answer(request(TASK))
        await refused(session, request(TASK, answer.message, told(answer, "on")), "unavailable")
        return await end(session)

    trajectory = run(scenario())
    assert trajectory.stop_reason is StopReason.infra_error
    assert trajectory.error == "TeacherError: teacher: connection refused"
    assert trajectory.verdict is None
    assert [[message.content for message in turn.observation] for turn in trajectory.turns] == [["on"]]


def test_a_label_that_fails_ends_the_session_at_once():
    async def scenario():
        session = open_session(teacher=failing("teacher", 9), actors=student_only)
        await until_refused(session)
        assert session.failed.is_set()
        assert session.failure is None
        await refused(session, request(TASK), "unavailable")
        return await end(session)

    trajectory = run(scenario())
    assert trajectory.stop_reason is StopReason.infra_error
    assert trajectory.error == "TeacherError: teacher: connection refused"


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_mistake_of_the_users_is_kept_for_whoever_runs_the_session(who):
    mistake = UserError("teacher.model: no such model")

    async def scenario():
        session = open_session(**{who: failing(who, 9, mistake)}, actors=student_only)
        await until_refused(session)
        await session.failed.wait()
        assert session.failure is mistake
        said = await refused(session, request(TASK), "internal")
        assert "model" not in said
        with pytest.raises(UserError, match="no such model"):
            await end(session)

    run(scenario())


def test_a_client_that_goes_away_takes_no_turn_with_it():
    async def scenario():
        gate = asyncio.Event()
        session = open_session(student=waiting_for(gate), label=False)
        gone = asyncio.create_task(session.answer(request(TASK)))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.set()
        await session.answer(request(TASK))
        return await end(session)

    trajectory = run(scenario())
    assert [turn.repeats for turn in trajectory.turns] == [1]


def test_the_end_gives_up_requests_in_flight_and_comes_once():
    async def scenario():
        session = open_session(student=waiting_for(asyncio.Event()), label=True)
        asked = asyncio.create_task(session.answer(request(TASK)))
        await asyncio.sleep(0.01)
        first, second = await asyncio.gather(end(session), end(session))
        assert first is second
        assert await end(session, StopReason.max_turns) is first
        with pytest.raises(RequestError, match="closed"):
            await asked
        await refused(session, request(TASK), "conflict")
        return first

    assert run(scenario()).turns == ()


def test_labels_are_waited_for_at_the_end_but_not_forever():
    async def scenario(label_seconds, opens):
        gate = asyncio.Event()
        session = open_session(teacher=waiting_for(gate, "teacher"), actors=student_only)
        await session.answer(request(TASK))

        async def verdict():
            if opens:
                gate.set()

        return await end(session, verdict=verdict, label_seconds=label_seconds)

    assert run(scenario(300, opens=True)).turns[0].label is not None
    late = run(scenario(0.01, opens=False))
    assert late.stop_reason is StopReason.infra_error
    assert "label_seconds" in late.error


def test_a_verifier_that_fails_makes_an_infra_error_and_a_driver_may_tell_one():
    async def broken():
        raise InfrastructureError("no verifier")

    async def scenario(**how):
        session = open_session()
        await session.answer(request(TASK))
        return await end(session, **how)

    assert run(scenario(verdict=broken)).error == "InfrastructureError: no verifier"
    told_so = run(scenario(stop_reason=StopReason.infra_error, error="the command was killed"))
    assert (told_so.error, told_so.verdict) == ("the command was killed", None)


class LockstepPolicy:
    """Acts once all open members of a cohort wait, as a student in this process does."""

    name = "student"

    def __init__(self):
        self.batches = []
        self._cohorts = {}

    def begin(self, episode):
        if episode.cohort not in self._cohorts or not episode.cohort:
            self._cohorts[episode.cohort] = Lockstep(self._run)
        lockstep = self._cohorts[episode.cohort]
        return LockstepSession(lockstep, lockstep.join(episode.trajectory_id))

    async def _run(self, states, left):
        self.batches.append([member.name for member in states])
        return {member: call_action("add") for member in states}


class LockstepSession:
    def __init__(self, lockstep, member):
        self._lockstep, self._member = lockstep, member

    async def look(self):
        pass

    async def act(self, state):
        return await self._lockstep.act(self._member, state)

    async def close(self):
        self._lockstep.leave(self._member)


def test_a_cohort_waits_for_no_line_that_rests():
    async def scenario():
        student = LockstepPolicy()
        condensing, plain = (
            Session(
                replace(PLAN, trajectory_id=name), parts_of(student=student, label=False, actors=student_only)
            )
            for name in ("condensing", "plain")
        )

        async def linear(session, history, num_turns):
            for _ in range(num_turns):
                answer = await session.answer(request(*history))
                history += [answer.message, told(answer, "on")]
            return history

        async def condenses():
            history = await linear(condensing, [TASK], 2)
            await linear(condensing, [user("Summary.")], 3)
            # It waits for the other one, which would wait for its first line.
            await is_plain_through.wait()
            await linear(condensing, history, 1)
            return await end(condensing)

        async def keeps():
            await linear(plain, [TASK], 4)
            is_plain_through.set()
            return await end(plain)

        is_plain_through = asyncio.Event()
        return student, await asyncio.gather(condenses(), keeps())

    student, (condensed, plain) = run(scenario())
    assert (len(condensed.turns), len(plain.turns)) == (6, 4)
    together = [batch for batch in student.batches if "plain" in batch]
    assert together == [["condensing", "plain"]] * 2 + [["plain"]] * 2
