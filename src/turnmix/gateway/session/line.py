"""A line of turns within a session: each goes on from what the one before it led to. It has a turn recorder of its own.

A session has many lines where its scaffold branches, condenses, or has sub-agents; few are gone on with at a time. The
student of a line that rests gives up what it holds, and begins anew where it is asked again, with its draws where they
were.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from turnmix.core.answer_form import AnswerForm
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Action, Actor, State
from turnmix.core.usage import Usage
from turnmix.gateway.model_request import Finish
from turnmix.gateway.session.graph import Node
from turnmix.policies.policy import Episode, Policy, PolicySession, counted_usage
from turnmix.rollout.turn_recorder import TurnRecorder, close_quietly


class ResumableStudent:
    """A policy's session that can rest."""

    def __init__(self, policy: Policy, episode: Episode) -> None:
        self._policy = policy
        self._episode = episode
        self._num_acted = 0
        self._past = Usage()
        self._session: PolicySession | None = None

    def join_cohort(self) -> None:
        """Begin at once: the others of its cohort wait for it."""
        self._session = self._policy.begin(replace(self._episode, turns_taken=self._num_acted))

    def note_past(self, action: Action) -> None:
        """It acted before, in another process."""
        self._num_acted += 1
        self._past += Usage(
            input_tokens=action.prompt_tokens or 0, output_tokens=action.completion_tokens or 0
        )

    @property
    def usage(self) -> Usage:
        """As the sessions counted it; else by the tokens of their actions."""
        usage = counted_usage(self._session)
        return self._past if usage is None else self._past + usage

    async def look(self) -> None:
        await self._opened().look()

    async def act(self, state: State) -> Action:
        session = self._opened()
        action = await session.act(state)
        self._num_acted += 1
        if counted_usage(session) is None:
            self._past += Usage(
                input_tokens=action.prompt_tokens or 0, output_tokens=action.completion_tokens or 0
            )
        return action

    async def close(self) -> None:
        """It begins anew where it is asked again."""
        session, self._session = self._session, None
        if session is not None:
            self._past += counted_usage(session) or Usage()
            await close_quietly(session)

    def _opened(self) -> PolicySession:
        if self._session is None:
            # Its cohort, if it had one, has gone on without it.
            self._session = self._policy.begin(replace(self._episode, cohort="", turns_taken=self._num_acted))
        return self._session


@dataclass(slots=True, eq=False, kw_only=True)
class Line:
    """One of a session's."""

    student: ResumableStudent
    recorder: TurnRecorder
    number: int
    """0: the session's first."""
    taken: list[SessionTurn] = field(default_factory=list)
    turn: SessionTurn | None = None
    """That which it takes now."""
    last: SessionTurn | None = None
    """That which it took last, or failed at."""


@dataclass(slots=True, eq=False, kw_only=True)
class SessionTurn:
    """One that a request asked for."""

    number: int
    """In the order of requests, from 0."""
    node: Node[SessionTurn]
    """Its state's messages."""
    tools: tuple[ToolSpecification, ...]
    form: AnswerForm
    place: bytes
    """Of its state: messages and tools."""
    offered: bytes
    """Of its tools."""
    wishes: bytes
    """Of what else its request wants."""
    actor: Actor | None = None
    """Who acts, once it is drawn."""
    prompt_tokens: int | None = None
    """Of its state, in the student's tokens; None: nobody has counted them."""
    task: asyncio.Task[None] | None = None
    """That takes it; None: it is answered, or failed and is taken where the request comes again."""
    is_begun: bool = False
    """Is it answered, or about to be?"""
    repeats: int = 0
    line: Line | None = None
    index: int = 0
    """Among the turns of its line."""
    answer: GivenAnswer | None = None
    answered: Node[SessionTurn] | None = None
    """Its state and its action. None: another turn's answer has this place."""
    led_to: Node[SessionTurn] | None = None
    """What the first history that went on from it added: where its observation ends."""

    @property
    def state(self) -> State:
        return State(messages=self.node.messages, tools=self.tools, form=self.form)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """What went out as a turn's answer."""

    id: str
    created: int
    action: Action
    sent: Message
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
