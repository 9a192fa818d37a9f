"""A connection to the daemon that became a two-way stream, as for attach and exec.

In: a request. Out: bytes in both directions, on a socket of the event loop. The SDK's own streams are
blocking, and lose what arrives together with the answer's head.
"""

from __future__ import annotations

import asyncio
import re
import struct
from typing import Any

from turnmix.core.errors import SandboxError
from turnmix.core.json_text import json_text

PIECE = 1 << 16
TYPED_BYTES = 1 << 20
"""What may wait to be typed; what is typed beyond it is lost."""
STDERR = 2


class Stream:
    """Output arrives as it is (from a terminal), or in frames that tell standard output from error."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_raw: bool) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=0)
        self._is_raw = is_raw
        self._left = 0
        self._kind = 0

    @property
    def is_blocked(self) -> bool:
        """Whether what was written does not get through."""
        return self._writer.transport.get_write_buffer_size() > 0

    async def read(self) -> tuple[int, bytes]:
        """A piece of output and which it is; b"" at the end."""
        try:
            while not self._is_raw and self._left == 0:
                self._kind, self._left = struct.unpack(">BxxxI", await self._reader.readexactly(8))
            data = await self._reader.read(PIECE if self._is_raw else min(PIECE, self._left))
        except (asyncio.IncompleteReadError, OSError):
            return 0, b""
        self._left -= 0 if self._is_raw else len(data)
        return self._kind, data

    async def to_the_end(self) -> None:
        """Read all output, of which nothing is kept."""
        while (await self.read())[1]:
            pass

    def write(self, data: bytes) -> None:
        if self._writer.transport.get_write_buffer_size() + len(data) <= TYPED_BYTES:
            self._writer.write(data)

    def put(self, data: bytes) -> None:
        """Write all of `data`, as fast as it gets through."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until all that was written got through. Raises OSError."""
        await self._writer.drain()

    def close(self) -> None:
        self._writer.transport.abort()


async def open_stream(address: str, path: str, body: dict[str, Any] | None, *, is_raw: bool) -> Stream:
    """Raises OSError, asyncio.IncompleteReadError, and SandboxError with the daemon's refusal."""
    if address.startswith("unix://"):
        reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix://"), limit=4 * PIECE)
    else:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=4 * PIECE)
    try:
        # An attached stream's body would be taken for its first input.
        content = b"" if body is None else json_text(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        writer.write(head.encode() + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.[01] (\d+)", answer)
        if status is None or int(status[1]) not in (101, 200):
            refusal = (await reader.read(PIECE)).decode("utf-8", "replace").strip()
            raise SandboxError(f"{address} refused a stream: {refusal or answer!r}")
    except BaseException:
        writer.transport.abort()
        raise
    return Stream(reader, writer, is_raw=is_raw)
