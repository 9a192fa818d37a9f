"""The host's end of a supervisor's line: requests out, output and results in.

In: an open socket to a supervisor. Out: awaitable answers. All that arrives is untrusted: a frame
that breaks the protocol breaks the connection, and nothing that arrives is more than bytes and a number.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.inside.job import CHUNK, TERMINAL_WINDOW
from turnmix.sandboxes.sandbox import Limits, SandboxEnded, SandboxLimitExceeded

NOTES = 64 << 10
"""Bytes by which a channel may exceed its limit with what the supervisor itself has to say."""
TERMINAL_LIMIT = TERMINAL_WINDOW + (1 << 20)
"""A terminal's window, and what it may leave behind at its end."""
ACKNOWLEDGED = TERMINAL_WINDOW // 2
"""Bytes of a terminal's output that are acknowledged together: each message wakes the other side."""


class Channel:
    """One request, or one terminal."""

    def __init__(self, number: int, limit: int) -> None:
        self.number = number
        self.limit = limit
        self.buffer = bytearray()
        self.code: int | None = None
        self.error_number: int | None = None
        self.failure: SandboxError | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def has_ended(self) -> bool:
        return self.code is not None or self.error_number is not None or self.failure is not None

    def notify(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def change(self) -> None:
        """Wait until something arrives."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)


class Connection(asyncio.Protocol):
    def __init__(
        self, explain_end: Callable[[], Awaitable[SandboxError]], kernel_note: Callable[[], bytes]
    ) -> None:
        """`explain_end`: awaited where the other side ends the connection. `kernel_note`: asked before all that
        arrives together for what all commands are told first."""
        self._kernel_note = kernel_note
        self._explain_end = explain_end
        self._ending: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._inbox = bytearray()
        self._channels: dict[int, Channel] = {0: Channel(0, 0)}
        self._next_number = 1
        self.failure: SandboxError | None = None
        self.last_words = b""
        """What a supervisor that breaks says of it."""
        self._ready = asyncio.get_running_loop().create_future()

    async def ready(self) -> None:
        await asyncio.shield(self._ready)
        if self.failure is not None:
            raise self.failed()

    def failed(self) -> SandboxError:
        """A fresh error, as each caller's traceback is its own."""
        failure = self.failure or SandboxError("the connection to the sandbox is closed")
        if isinstance(failure, SandboxLimitExceeded):
            return SandboxLimitExceeded(failure.limit)
        return type(failure)(str(failure))

    def open(self, limit: int, operation: str, *arguments: Any) -> Channel:
        """Send a request whose output will be at most `limit` bytes."""
        if self.failure is not None:
            raise self.failed()
        channel = Channel(self._next_number, limit)
        self._next_number += 1
        self._channels[channel.number] = channel
        self.send(channel, operation, *arguments)
        return channel

    def send(self, channel: Channel, operation: str, *arguments: Any) -> None:
        if self.failure is None and self._transport is not None and not channel.has_ended:
            message = marshal.dumps((operation, *arguments), 2)
            header = struct.pack(">II", channel.number, len(message))
            if len(message) < CHUNK:
                self._transport.write(header + message)
            else:  # a tree of hundreds of MiB is not copied for a header, nor for what is sent of it already
                self._transport.write(header)
                self._transport.write(memoryview(message))

    async def result(self, channel: Channel) -> int:
        """Wait for the end of a request. Raises SandboxError, and OSError as the supervisor reports it."""
        try:
            while not channel.has_ended:
                await channel.change()
        except asyncio.CancelledError:
            self.send(channel, "close")
            raise
        if channel.failure is not None:
            raise self.failed()
        if channel.error_number is not None:
            raise OSError(channel.error_number, os.strerror(channel.error_number))
        assert channel.code is not None
        return channel.code

    def fail(self, failure: SandboxError) -> None:
        """End everything; the first failure is what every caller is told."""
        if self.failure is not None:
            return
        self.failure = failure
        if not self._ready.done():
            self._ready.set_result(None)
        for channel in self._channels.values():
            channel.failure = failure
            channel.notify()
        if self._transport is not None:
            self._transport.abort()

    def send_raw(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.failure is None:
            self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        self.fail(await self._explain_end())

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        self._pass_on(self._kernel_note())
        position = 0
        while self.failure is None and len(self._inbox) - position >= 9:
            number, kind, length = struct.unpack_from(">IcI", self._inbox, position)
            if length > CHUNK:
                self.fail(SandboxEnded(f"the sandbox broke the protocol: a frame of {length} bytes"))
                return
            if len(self._inbox) - position < 9 + length:
                break
            position += 9 + length
            self._dispatch(number, kind, bytes(self._inbox[position - length : position]))
        del self._inbox[:position]

    def _dispatch(self, number: int, kind: bytes, payload: bytes) -> None:
        channel = self._channels.get(number)
        if number == 0 and kind == b"r" and not self._ready.done():
            self._ready.set_result(None)
        elif number == 0 and kind == b"l" and payload.decode("ascii", "replace") in Limits.__slots__:
            self.fail(SandboxLimitExceeded(payload.decode("ascii")))
        elif number == 0 and kind == b"d":
            self.last_words = payload
        elif channel is None or number == 0:
            self.fail(SandboxEnded(f"the sandbox broke the protocol: frame {kind!r} on channel {number}"))
        elif kind == b"o" and len(channel.buffer) + len(payload) <= channel.limit + NOTES:
            channel.buffer += payload
            channel.notify()
        elif kind in (b"x", b"e") and len(payload) == 4:
            (code,) = struct.unpack(">i", payload)
            if kind == b"x":
                channel.code = code
            else:
                channel.error_number = min(max(code, 1), 4095)
            del self._channels[number]
            channel.notify()
        else:
            self.fail(SandboxEnded(f"the sandbox broke the protocol: frame {kind!r} of {len(payload)} bytes"))

    def _pass_on(self, note: bytes) -> None:
        for channel in self._channels.values() if note else ():
            if note not in channel.buffer[-NOTES // 2 :]:
                channel.buffer += note
                channel.notify()


class SupervisedTerminal:
    """A shell on a pseudo-terminal of a supervisor."""

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._taken = 0
        """Bytes that were read and not acknowledged yet."""

    async def write(self, data: bytes) -> None:
        if self._channel.failure is not None:
            raise self._connection.failed()
        self._connection.send(self._channel, "type", data)

    async def read(self) -> bytes:
        channel = self._channel
        while not channel.buffer and not channel.has_ended:
            await channel.change()
        if channel.buffer:
            data = bytes(channel.buffer)
            channel.buffer.clear()
            self._taken += len(data)
            if self._taken >= ACKNOWLEDGED:
                self._connection.send(channel, "acknowledge", self._taken)
                self._taken = 0
            return data
        if channel.failure is not None:
            raise self._connection.failed()
        return b""

    async def close(self) -> None:
        channel = self._channel
        self._connection.send(channel, "close")
        while not channel.has_ended:
            channel.buffer.clear()
            await channel.change()
