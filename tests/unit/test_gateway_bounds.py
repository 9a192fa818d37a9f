"""How far a session may go, and what of its time is the scaffold's own."""

import asyncio

import pytest
from gateway_scaffolds import end, open_session, request, run, says_where, told, user

from turnmix.core.trajectory import StopReason
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.scaffolds.watched_session import WatchedSession
from turnmix.gateway.session.bounds import SessionBounds
from turnmix.policies.scripted import ScriptedPolicy, text_action


def test_no_turn_is_taken_behind_the_last_one_but_each_that_was_is_answered_again():
    async def scenario():
        bounds = SessionBounds(max_turns=2, max_tokens=1000)
        session = open_session(bounds=bounds)
        first = await session.answer(request(user("Count.")))
        history = [user("Count."), first.message, told(first, "1")]
        second = await session.answer(request(*history))
        with pytest.raises(RequestError, match=r"has taken its 2 turns \(scaffold.max_turns\)") as refused:
            await session.answer(request(*history, second.message, told(second, "2")))
        assert refused.value.fault == "forbidden"  # which clients do not try again
        assert await session.answer(request(*history)) == second
        assert bounds.reached is StopReason.max_turns
        return await end(session, bounds.reached)

    assert len(run(scenario()).turns) == 2


def test_a_conversation_that_is_too_long_is_refused_in_words_by_which_scaffolds_condense_and_go_on():
    async def scenario(goes_on):
        bounds = SessionBounds(max_turns=9, max_tokens=100)
        session = open_session(bounds=bounds, student=says_where("student"))
        first = await session.answer(request(user("Count.")))
        with pytest.raises(RequestError, match=r"too long: .* > 100 maximum.* context length"):
            await session.answer(request(user("Count."), first.message, told(first, "1" * 400)))
        if goes_on:
            await session.answer(request(user("Count."), first.message, told(first, "1" * 40)))
        await end(session)
        return bounds.reached

    assert run(scenario(goes_on=False)) is StopReason.max_tokens
    assert run(scenario(goes_on=True)) is None


def test_how_long_a_model_takes_is_not_the_scaffolds_time():
    async def scenario():
        slow = ScriptedPolicy("student", lambda episode, state: text_action("one"), latency=0.5)
        session = open_session(student=slow, teacher=slow)
        watched = WatchedSession(session, seconds=0.2, sandbox=None)
        watched.begin()
        await watched.answer(request(user("Count.")))
        assert not watched.is_over.is_set()
        await asyncio.wait_for(watched.is_over.wait(), 300)
        await end(session)

    run(scenario())
