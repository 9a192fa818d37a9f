"""A request's body. In: an HTTP request of anybody's. Out: the JSON object in it, of bounded size; or why it is none.

What is too long is read to its end and thrown away, so that the client hears why it was refused; what is endless is
not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from turnmix.core.bounded_file import MEBIBYTE
from turnmix.core.json_text import json_value
from turnmix.gateway.model_request import RequestError

Made = TypeVar("Made")
PARSED_IN_PLACE = MEBIBYTE
"""Bytes; what is longer is parsed in a thread: 16 MiB then hold other sessions up for 30 to 80 ms instead of 230."""
MOST_DISCARDED = 1024 * MEBIBYTE
DISCARD_SECONDS = 30.0


class ReadBytes:
    """Bytes of all bodies that are in memory at one moment."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, number: int) -> None:
        """Raises RequestError: there is no room now."""
        if self._held + number > self._most:
            raise RequestError(
                "unavailable",
                f"the gateway is reading {self._held // MEBIBYTE} MiB of other requests: ask again later",
            )
        self._held += number

    def give(self, number: int) -> None:
        self._held -= number


async def read_object(
    request: Request,
    *,
    most: int,
    held: ReadBytes,
    made: Callable[[dict[str, Any]], Made],
    is_required: bool = True,
) -> tuple[dict[str, Any], Made]:
    """The object in the request's body, and what `made` makes of it. `is_required`: else no body is an empty object.

    Raises:
        RequestError: there is none, or it is too long; or what `made` raises.
        ClientDisconnect: nobody is there any more.
    """
    _check_headers(request)
    chunks: list[bytes] = []
    length = taken = 0
    try:
        if _told_length(request) > most:
            await _discard(request)
            raise _too_large(most)
        async for chunk in request.stream():
            length += len(chunk)
            if length > most:
                chunks.clear()
                await _discard(request)
                raise _too_large(most)
            held.take(len(chunk))
            taken += len(chunk)
            chunks.append(chunk)
        content = b"".join(chunks)
        chunks.clear()
        if not content and not is_required:
            return {}, made({})
        if content and not _is_json(request):
            raise RequestError(
                "invalid_request",
                f"content type {request.headers.get('content-type', 'none')!r:.100}: send application/json",
            )
        if length > PARSED_IN_PLACE:
            return await asyncio.to_thread(_parsed, content, made)
        return _parsed(content, made)
    finally:
        held.give(taken)


def _parsed(content: bytes, made: Callable[[dict[str, Any]], Made]) -> tuple[dict[str, Any], Made]:
    try:
        body = json_value(content)
    except ValueError as error:
        raise RequestError("invalid_request", f"the body is no JSON: {error!s:.200}") from None
    if not isinstance(body, dict):
        raise RequestError("invalid_request", f"the body is a {type(body).__name__}: send a JSON object")
    return body, made(body)


def _check_headers(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(
            "invalid_request", f"content encoding {encoding!r:.50}: send the body as it is, uncompressed"
        )


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _told_length(request: Request) -> int:
    told = request.headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 20 else 0


async def _discard(request: Request) -> None:
    """Read on, and keep nothing: a client that is still sending reads no answer. One that waits to be told to send is
    told at once."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return

    async def discard() -> None:
        length = 0
        async for chunk in request.stream():
            length += len(chunk)
            if length > MOST_DISCARDED:
                return

    try:
        await asyncio.wait_for(discard(), DISCARD_SECONDS)
    except (asyncio.TimeoutError, ClientDisconnect):
        return


def _too_large(most: int) -> RequestError:
    size = f"{most // MEBIBYTE} MiB" if most >= MEBIBYTE else f"{most:,} bytes"
    return RequestError(
        "too_large",
        f"the body is longer than {size}: condense the history, or raise rollouts.gateway.max_request_bytes",
    )
