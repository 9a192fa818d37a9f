"""One session as the server sees it: who may ask it, and what is being answered.

In: requests. Out: answers that are made whether or not anybody waits. Of its keys digests alone are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from turnmix.core.errors import InfrastructureError
from turnmix.gateway.dialects.known import Known
from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError
from turnmix.gateway.session.journal import SessionJournal

Operation = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""A JSON object in, a JSON object out. Raises RequestError."""
Count = Callable[[ModelRequest], int]
Figures = Callable[[], Mapping[str, Any]]


class Answering(Protocol):
    """What answers a session's requests."""

    @property
    def failure(self) -> BaseException | None:
        """A mistake of the user's, or a bug, which ends the whole gateway."""
        ...

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Raises RequestError."""
        ...

    async def close(self) -> None: ...


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
    journal: SessionJournal | None = None
    """It is closed with the session."""
    figures: Figures | None = None
    """What whoever looks at it is told, such as its turns so far."""
    known: dict[str, Known[Any]] = field(default_factory=dict)
    """What was read of its last request, by the path of a dialect."""
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
        if self.journal is not None:
            self.journal.close()


def over() -> RequestError:
    return RequestError("conflict", "this session is finished: open another one")
