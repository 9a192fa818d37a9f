"""The sessions that a gateway holds, each behind keys of its own.

In: sessions, and what requests show. Out: the session that a request may ask; nobody is told which others there are.
Of keys digests alone are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.trajectory import State
from turnmix.gateway.model_request import ModelRequest, RequestError
from turnmix.gateway.serving.held_session import Answering, Count, Figures, HeldSession, KeyDigests, Operation
from turnmix.gateway.serving.keys import digest_of, is_key, new_key, new_route_token
from turnmix.gateway.session.journal import FIX, SessionJournal
from turnmix.gateway.session.session import Session, SessionParts
from turnmix.gateway.settings import GatewaySettings
from turnmix.rollout.plan import RolloutPlan

__all__ = ["HeldSession", "KeyDigests", "OpenedSession", "Operation", "SessionBook"]

JOURNAL = ".jsonl"
"""Behind a session's id: the file of its journal."""
_NOWHERE = digest_of(new_key())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """What whoever opened a session gives to its scaffold."""

    id: str
    key: str = field(repr=False)
    path: str = field(repr=False)
    """Its own path at the gateway, a secret as the key is."""
    url: str = field(repr=False)
    """Of the gateway."""
    session: Any = field(repr=False)

    @property
    def base_url(self) -> str:
        """For clients of OpenAI's kind."""
        return f"{self.session_url}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """For Anthropic's clients, which add `/v1` themselves."""
        return self.session_url

    @property
    def session_url(self) -> str:
        """Where the session itself is asked for, and finished."""
        return f"{self.url}{self.path}"


class SessionBook:
    """All sessions of a gateway, open ones and those that are over."""

    def __init__(self, settings: GatewaySettings | None = None) -> None:
        self.settings = settings or GatewaySettings()
        self.url = ""
        """Of the server, once it listens."""
        self.failure: BaseException | None = None
        """The first that is no matter of a request, such as a mistake in code of the user's own."""
        self._failed = asyncio.Event()
        self._held: dict[str, HeldSession] = {}
        self._by_key: dict[str, HeldSession] = {}
        self._open = 0

    def open(
        self,
        plan: RolloutPlan,
        parts: SessionParts,
        *,
        id: str | None = None,
        finish: Operation | None = None,
        run: Operation | None = None,
        journals: Path | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> OpenedSession:
        """A session of a plan, under `id`, the plan's own if left out. `journals`: the directory where its journal is
        written, with what it is `about`. Raises RequestError: too many are open."""
        self.check_room()
        id = id or plan.trajectory_id
        keys = _Keys(key=new_key(), route=new_route_token())
        journal = None
        if journals is not None:
            written = {**(about or {}), "keys": {"key": keys.digests.key, "route": keys.digests.route}}
            journal = SessionJournal.create(journals / f"{id}{JOURNAL}", plan, about=written)
        session = self._hold_session(
            plan, parts, journal, id=id, digests=keys.digests, finish=finish, run=run
        )
        return OpenedSession(id=id, key=keys.key, path=keys.path(id), url=self.url, session=session)

    def open_again(
        self,
        plan: RolloutPlan,
        parts: SessionParts,
        journal: SessionJournal,
        *,
        id: str,
        finish: Operation | None = None,
        run: Operation | None = None,
    ) -> Session:
        """A session of an earlier process, with the keys that it had. Raises UserError: its journal is damaged."""
        digests = digests_in(journal)
        return self._hold_session(plan, parts, journal, id=id, digests=digests, finish=finish, run=run)

    def _hold_session(
        self,
        plan: RolloutPlan,
        parts: SessionParts,
        journal: SessionJournal | None,
        *,
        id: str,
        digests: KeyDigests,
        finish: Operation | None,
        run: Operation | None,
    ) -> Session:
        session = Session(plan, parts, journal=journal)

        def count(request: ModelRequest) -> int:
            return parts.count.prompt(State(messages=request.messages, tools=request.tools))

        def figures() -> Mapping[str, Any]:
            return {
                "task": plan.task.id,
                "turns": session.num_turns,
                "lines": session.num_lines,
                "repeats": session.num_repeats,
            }

        held = self.hold_again(
            session, id=id, digests=digests, finish=finish, run=run, count=count, figures=figures
        )
        held.journal = journal
        return session

    def hold(
        self,
        session: Answering,
        *,
        id: str,
        finish: Operation | None = None,
        run: Operation | None = None,
        count: Count | None = None,
        figures: Figures | None = None,
    ) -> OpenedSession:
        """Open a session under `id`, which no other has had. Raises RequestError: too many are open."""
        self.check_room()
        keys = _Keys(key=new_key(), route=new_route_token())
        self.hold_again(
            session, id=id, digests=keys.digests, finish=finish, run=run, count=count, figures=figures
        )
        return OpenedSession(id=id, key=keys.key, path=keys.path(id), url=self.url, session=session)

    def hold_again(
        self,
        session: Answering | None,
        *,
        id: str,
        digests: KeyDigests,
        finish: Operation | None = None,
        run: Operation | None = None,
        count: Count | None = None,
        figures: Figures | None = None,
    ) -> HeldSession:
        """A session whose keys are out already. None: it is over, and can be asked no more than to finish."""
        if id in self._held:
            raise ValueError(f"a session {id} is held already")
        held = HeldSession(
            id=id, digests=digests, session=session, finish=finish, run=run, count=count, figures=figures
        )
        self._held[id] = self._by_key[digests.key] = held
        self._open += held.is_open
        return held

    def check_room(self) -> None:
        """Raises RequestError: too many sessions are open."""
        if self._open >= self.settings.max_sessions:
            raise RequestError(
                "unavailable",
                f"{self.settings.max_sessions} sessions are open (rollouts.gateway.max_sessions): finish some first",
            )

    def held(self, id: str) -> HeldSession:
        """Raises KeyError: there is none."""
        return self._held[id]

    def find(self, *, id: str | None, route: str | None, keys: tuple[str, ...]) -> HeldSession:
        """The session that a request may ask: by its path, by its key, or by its id with its key. Every key shown must
        be its own. Raises RequestError: it is none of theirs, or there is none."""
        by_key = self._by_key.get(digest_of(keys[0])) if keys else None
        held = by_key if id is None else self._held.get(id)
        digests = KeyDigests(key=_NOWHERE, route=_NOWHERE) if held is None else held.digests
        are_right = all([is_key(key, digests.key) for key in keys])
        is_known = bool(keys) if route is None else is_key(route, digests.route)
        if held is None or not (are_right and is_known):
            raise RequestError(
                "unauthorized",
                "this is no key of this session: send the key that it was opened with, or use the base URL that came "
                "with it",
            )
        return held

    async def end(self, id: str) -> None:
        """Of a session that is over its keys alone are remembered."""
        held = self._held[id]
        self._open -= held.is_open
        await held.end()

    def forget(self, id: str) -> None:
        """A session that never was: it could not be opened."""
        held = self._held.pop(id)
        self._open -= held.is_open
        del self._by_key[held.digests.key]

    @property
    def num_open(self) -> int:
        return self._open

    def idle(self) -> list[HeldSession]:
        """Open sessions that have asked nothing for longer than they may."""
        before = time.monotonic() - self.settings.idle_seconds
        return [
            held
            for held in self._held.values()
            if held.is_open and not held.answering and held.asked_at < before
        ]

    def note_failure(self, error: BaseException) -> None:
        """What ends the whole gateway."""
        self.failure = self.failure or error
        self._failed.set()

    async def failed(self) -> None:
        """Waits until a failure comes, and raises it."""
        await self._failed.wait()
        assert self.failure is not None
        raise self.failure

    async def close(self) -> None:
        """End all sessions, those that can go on from their journals too."""
        for id in self._held:
            await self.end(id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """Of a session that is being opened; nobody keeps them."""

    key: str = field(repr=False)
    route: str = field(repr=False)

    @property
    def digests(self) -> KeyDigests:
        return KeyDigests(key=digest_of(self.key), route=digest_of(self.route))

    def path(self, id: str) -> str:
        return f"/sessions/{id}/{self.route}"


def digests_in(journal: SessionJournal) -> KeyDigests:
    """Raises UserError: the journal holds none."""
    keys = journal.about.get("keys")
    if not (isinstance(keys, dict) and all(isinstance(keys.get(name), str) for name in ("key", "route"))):
        raise UserError(f"{journal.path}: it does not tell its session's keys: {FIX}")
    return KeyDigests(key=keys["key"], route=keys["route"])
