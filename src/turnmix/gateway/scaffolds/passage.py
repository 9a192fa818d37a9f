"""Connections that come out of a sandbox, passed on to the gateway as they are.

In: a socket that listens inside a sandbox, and where the gateway listens. Out: a way from one to the other, inside of a
context. The sandbox has no other: what is not the gateway cannot be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType

MOST_CONNECTIONS = 32
"""Of one sandbox at one moment: descriptors are this process's."""
_PIECE = 1 << 16


class Passage:
    """For one sandbox."""

    def __init__(self, listening: socket.socket, *, host: str, port: int) -> None:
        """`listening`: owned from now on."""
        self._listening = listening
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Passage:
        self._server = await asyncio.start_server(self._accepted, sock=self._listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._pass(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(self._host, self._port)
            await asyncio.gather(_copied(reader, there), _copied(back, writer))
        except OSError:  # one of the two is gone, and so is the connection
            pass
        finally:
            for each in (writer, there):
                if each is not None:
                    each.transport.abort()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
