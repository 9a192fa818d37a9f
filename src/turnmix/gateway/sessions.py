"""The sessions that a gateway holds, each behind keys of its own.

In: sessions, and what requests show. Out: the session that a request may ask; nobody is told which others there are.
Of keys digests alone are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from turnmix.core.errors import InfrastructureError
from turnmix.core.trajectory import State
from turnmix.gateway.keys import digest_of, is_key, new_key, new_route_token
from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError
from turnmix.gateway.session import Session, SessionParts
from turnmix.gateway.settings import GatewaySettings
from turnmix.rollout.plan import RolloutPlan

Operation = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""A JSON object in, a JSON object out. Raises RequestError."""
Count = Callable[[ModelRequest], int]
Figures = Callable[[], Mapping[str, Any]]
_NOWHERE = digest_of(new_key())


class Answering(Protocol):
    """What answers a session's requests."""

    failure: BaseException | None
    """A mistake of the user's, or a bug, which ends the whole gateway."""

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Raises RequestError."""
        ...

    async def close(self) -> None: ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDigests:
    """What is kept of a session's keys."""

    key: str
    route: str


@dataclass(slots=True, kw_only=True, eq=False)
class HeldSession:
    """One session as the server sees it."""

    id: str
    digests: KeyDigests
    session: Answering | None
    """None: it is over."""
    finish: Operation | None = None
    """Ends it; None: whoever opened it does, no request can."""
    run: Operation | None = None
    """Runs a command where its task lies; None: it has no such place."""
    count: Count | None = None
    """Tokens of the prompt that a request is."""
    figures: Figures | None = None
    """What whoever looks at it is told, such as its turns so far."""
    asked_at: float = field(default_factory=time.monotonic)
    """When a request last came, or was answered."""
    answering: set[asyncio.Task[ModelAnswer]] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        return self.session is not None

    def ask(
        self, request: ModelRequest, *, most: int, fault: Callable[[BaseException], None]
    ) -> asyncio.Task[ModelAnswer]:
        """The answer that is being made, whether or not anybody waits for it. `fault` is told of a failure that is no
        matter of the request. Raises RequestError."""
        if (session := self.session) is None:
            raise over()
        if len(self.answering) >= most:
            raise RequestError(
                "unavailable",
                f"{most} requests of this session are unanswered: wait for them, or raise "
                "rollouts.gateway.max_requests_per_session",
            )
        task = asyncio.create_task(session.answer(request))
        self.answering.add(task)

        def ended(task: asyncio.Task[ModelAnswer]) -> None:
            self.answering.discard(task)
            self.asked_at = time.monotonic()
            error = None if task.cancelled() else task.exception()
            if session.failure is not None:
                fault(session.failure)
            elif error is not None and not isinstance(error, RequestError | InfrastructureError):
                fault(error)

        task.add_done_callback(ended)
        return task

    async def end(self) -> None:
        """No further request is answered; those under way are given up."""
        session, self.session = self.session, None
        for task in tuple(self.answering):
            task.cancel()
        await asyncio.gather(*self.answering, return_exceptions=True)
        if session is not None:
            await session.close()


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
    ) -> OpenedSession:
        """A session of a plan, under `id`, the plan's own if left out. Raises RequestError: too many are open."""
        self.check_room()
        session = Session(plan, parts)

        def count(request: ModelRequest) -> int:
            return parts.count.prompt(State(messages=request.messages, tools=request.tools))

        def figures() -> Mapping[str, Any]:
            return {
                "task": plan.task.id,
                "turns": session.num_turns,
                "lines": session.num_lines,
                "repeats": session.num_repeats,
            }

        return self.hold(
            session, id=id or plan.trajectory_id, finish=finish, run=run, count=count, figures=figures
        )

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
        key, route = new_key(), new_route_token()
        digests = KeyDigests(key=digest_of(key), route=digest_of(route))
        self.hold_again(session, id=id, digests=digests, finish=finish, run=run, count=count, figures=figures)
        return OpenedSession(id=id, key=key, path=f"/sessions/{id}/{route}", url=self.url, session=session)

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


def over() -> RequestError:
    return RequestError("conflict", "this session is finished: open another one")
