"""Lockstep: what is generated together depends on the trajectories alone, never on who was faster.

In: members that join a cohort, ask for actions and leave. Out: one batch at a time, run exactly when every
open member waits. The k-th batch thus holds the same states in the same order in every run of the same
recipe, and a rounding that depends on the batch is the same too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from turnmix.core.trajectory import Action, State


class Member(NamedTuple):
    """One open session of a cohort. Members are ordered by name; one that begins again comes after itself."""

    name: str
    attempt: int


RunBatch = Callable[[Mapping[Member, State], tuple[Member, ...]], Awaitable[Mapping[Member, Action]]]
"""Acts for every member in its state, after forgetting the members that left."""


class Lockstep:
    """One cohort. All members join before the first acts; who neither acts nor leaves holds up the rest."""

    def __init__(self, run: RunBatch) -> None:
        self._run = run
        self._open: set[Member] = set()
        self._left: list[Member] = []
        self._waiting: dict[Member, tuple[State, asyncio.Future[Action]]] = {}
        self._batch: asyncio.Task[None] | None = None
        self._num_joined = 0

    @property
    def is_empty(self) -> bool:
        return not self._open

    def join(self, name: str) -> Member:
        member = Member(name, self._num_joined)
        self._num_joined += 1
        self._open.add(member)
        return member

    async def act(self, member: Member, state: State) -> Action:
        """The member's action, once all open members wait for theirs."""
        answer: asyncio.Future[Action] = asyncio.get_running_loop().create_future()
        self._waiting[member] = (state, answer)
        self._run_when_all_wait()
        try:
            return await answer
        finally:
            if self._waiting.get(member) == (state, answer):
                del self._waiting[member]

    def leave(self, member: Member) -> None:
        """Take the member out; the others no longer wait for it. Safe to call twice."""
        if member in self._open:
            self._open.remove(member)
            self._left.append(member)
            self._waiting.pop(member, None)
            self._run_when_all_wait()

    def _run_when_all_wait(self) -> None:
        if self._batch is None and self._open and self._open == self._waiting.keys():
            self._batch = asyncio.get_running_loop().create_task(self._answer_all())

    async def _answer_all(self) -> None:
        asked = {member: self._waiting.pop(member) for member in sorted(self._waiting)}
        left, self._left = tuple(self._left), []
        try:
            actions = await self._run({member: state for member, (state, _) in asked.items()}, left)
        except BaseException as error:
            for _, answer in asked.values():
                if not answer.done():
                    answer.set_exception(error) if isinstance(error, Exception) else answer.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for member, (_, answer) in asked.items():
                if not answer.done():
                    answer.set_result(actions[member])
        finally:
            self._batch = None
            self._run_when_all_wait()
