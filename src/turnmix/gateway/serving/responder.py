"""One request of a model, and its answer on the wire.

In: an HTTP request, the session that it asks, its dialect. Out: the whole answer, or a stream of it. An answer is the
session's: it is made whether or not the client waits, and asked again it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from turnmix.core.bounded_file import MEBIBYTE
from turnmix.core.errors import InfrastructureError
from turnmix.gateway.dialects.dialect import Dialect
from turnmix.gateway.dialects.known import Known
from turnmix.gateway.model_request import ModelAnswer, RequestError
from turnmix.gateway.serving.held_session import HeldSession, over
from turnmix.gateway.serving.json_response import JsonResponse
from turnmix.gateway.serving.request_body import ReadBytes, read_object
from turnmix.gateway.serving.sessions import SessionBook

HEARTBEAT_SECONDS = 10.0
"""Proxies cut what is silent for a minute, some for half of one."""
MOST_READ = 512 * MEBIBYTE
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Responder:
    """Answers requests until the gateway closes; then what is unanswered is told so."""

    def __init__(self, book: SessionBook) -> None:
        self._book = book
        self._waiting: set[asyncio.Future[None]] = set()
        self.read_bytes = ReadBytes(max(MOST_READ, 2 * book.settings.max_request_bytes))
        self.is_closing = False

    def close(self) -> None:
        """From now on nothing is answered but that the gateway ends."""
        self.is_closing = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def respond(self, request: Request, held: HeldSession, dialect: Dialect) -> Response:
        """Raises RequestError, before anything of the answer is sent."""
        settings = self._book.settings
        if not held.is_open:
            raise over()
        known = held.known.setdefault(dialect.path, Known())
        body, (asked, is_streamed) = await read_object(
            request,
            most=settings.max_request_bytes,
            held=self.read_bytes,
            made=lambda body: dialect.read(body, known),
        )
        if self.is_closing:
            raise _ending()
        task = held.ask(asked, most=settings.max_requests_per_session, fault=self._book.note_failure)
        if not is_streamed:
            await self._wait(task, seconds=None)
            return JsonResponse(dialect.write(self._answer_of(task), body))
        # An answer that comes soon may still fail with a status of its own, which clients know to try again.
        await self._wait(task, seconds=HEARTBEAT_SECONDS)
        stream: AsyncIterator[bytes]
        if task.done() or self.is_closing:
            stream = _pieces(dialect, self._answer_of(task), body)
        else:
            stream = self._late(task, dialect, body)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_STREAM_HEADERS)

    async def _late(
        self, task: asyncio.Task[ModelAnswer], dialect: Dialect, body: Mapping[str, Any]
    ) -> AsyncIterator[bytes]:
        while not (task.done() or self.is_closing):
            yield dialect.heartbeat()
            await self._wait(task, seconds=HEARTBEAT_SECONDS)
        try:
            answer = self._answer_of(task)
        except RequestError as error:
            yield dialect.error_event(error)
            return
        for piece in dialect.events(answer, body):
            yield piece

    async def _wait(self, task: asyncio.Task[ModelAnswer], *, seconds: float | None) -> None:
        """Until the answer is there, the gateway closes, or the time is over. The answer goes on all the same."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(task: asyncio.Task[ModelAnswer]) -> None:
            if not waiter.done():
                waiter.set_result(None)

        task.add_done_callback(wake)
        self._waiting.add(waiter)
        try:
            await asyncio.wait_for(waiter, seconds)
        except asyncio.TimeoutError:
            return
        finally:
            self._waiting.discard(waiter)
            task.remove_done_callback(wake)

    def _answer_of(self, task: asyncio.Task[ModelAnswer]) -> ModelAnswer:
        """Raises RequestError: there is none."""
        if not task.done():
            raise _ending()
        if task.cancelled():
            raise _ending() if self.is_closing else over()
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, RequestError):
            raise error
        if isinstance(error, InfrastructureError):
            raise RequestError("unavailable", f"a model could not be asked: {error}")
        raise RequestError("internal", f"the gateway failed: {type(error).__name__}")


async def _pieces(dialect: Dialect, answer: ModelAnswer, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
    for piece in dialect.events(answer, body):
        yield piece


def _ending() -> RequestError:
    return RequestError("unavailable", "the gateway is ending: ask again when it is there again")
