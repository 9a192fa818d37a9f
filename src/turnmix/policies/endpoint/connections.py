"""Connections to one endpoint, each used by one request at a time.

In: a request. Out: its whole response. A pool of httpx's looks through all its connections for each request that comes
or goes: with 64 in use that takes several times as long as the rest of an exchange. Where no proxy stands between,
httpcore speaks HTTP over a stream of asyncio's own; layers that also serve other event loops take longer than both.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import httpcore
import httpx

KEPT_SECONDS = 5.0
"""A connection that nobody uses, as httpx keeps it."""
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_SECONDS)
_NEXT_ADDRESS_SECONDS = 0.25
"""Until the next address of a host is tried beside the one that has not answered."""


class NotConnectedError(Exception):
    """No connection could be made."""


class LostConnectionError(Exception):
    """A connection that was made gave no whole response."""


class _Connection(Protocol):
    def is_usable(self) -> bool:
        """May a further request be sent on it?"""
        ...

    async def exchange(
        self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes | None
    ) -> httpx.Response:
        """Raises NotConnectedError, LostConnectionError."""
        ...

    async def close(self) -> None: ...


class Connections:
    """Those of one event loop; any number may be in use at once."""

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        proxy: str | None,
        max_idle: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`verify`: for what is secured. `check` is called on each connection that was made, before the first byte;
        what it raises ends that."""
        self._verify = verify
        self._proxy = proxy
        self._max_idle = max_idle
        self._check = check
        self._idle: deque[tuple[float, _Connection]] = deque()
        """The latest used last, each with when it was."""
        self._used: set[_Connection] = set()

    async def exchange(
        self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes | None
    ) -> httpx.Response:
        """The response, read whole. Raises NotConnectedError, LostConnectionError, or what `check` raises."""
        connection = await self._usable(url)
        self._used.add(connection)
        try:
            response = await connection.exchange(method, url, headers, content)
        except BaseException:
            # Nobody knows what may still come on it.
            await connection.close()
            raise
        else:
            self._idle.append((time.monotonic(), connection))
        finally:
            self._used.discard(connection)
        if self._idle[0][0] < time.monotonic() - KEPT_SECONDS or len(self._idle) > self._max_idle:
            await self._idle.popleft()[1].close()
        return response

    async def close(self) -> None:
        connections = [*self._used, *(connection for _, connection in self._idle)]
        self._idle.clear()
        for connection in connections:
            await connection.close()

    async def _usable(self, url: httpx.URL) -> _Connection:
        while self._idle:
            connection = self._idle.pop()[1]
            if connection.is_usable():
                return connection
            await connection.close()
        if self._proxy is not None:
            return _Proxied(self._verify, self._proxy, self._check)
        return await _Direct.to(url, self._verify, self._check)


class _Direct:
    """One connection without a proxy."""

    def __init__(self, connection: httpcore.AsyncHTTP11Connection, stream: _Stream) -> None:
        self._connection = connection
        self._stream = stream

    @classmethod
    async def to(cls, url: httpx.URL, verify: ssl.SSLContext, check: Callable[[], None]) -> _Direct:
        """Raises NotConnectedError, or what `check` raises."""
        is_secured = url.scheme == "https"
        if is_secured:
            verify.set_alpn_protocols(["http/1.1"])
        loop = asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol,
                url.raw_host.decode("ascii"),
                url.port or (443 if is_secured else 80),
                ssl=verify if is_secured else None,
                happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
            )
        except (OSError, UnicodeError) as error:  # a name that cannot be one is refused as the latter
            raise NotConnectedError(str(error) or type(error).__name__) from error
        stream = _Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        try:
            check()
        except BaseException:
            await stream.aclose()
            raise
        origin = _core_url(url).origin
        return cls(httpcore.AsyncHTTP11Connection(origin, stream, keepalive_expiry=KEPT_SECONDS), stream)

    def is_usable(self) -> bool:
        return self._connection.is_idle() and not self._connection.has_expired()

    async def exchange(
        self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes | None
    ) -> httpx.Response:
        try:
            response = await self._connection.request(
                method, _core_url(url), headers=headers.raw, content=content
            )
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise LostConnectionError(str(error) or type(error).__name__) from error
        if self._stream.is_unsent:
            raise LostConnectionError("what came answers no request")
        return _read(response.status, response.headers, response.content)

    async def close(self) -> None:
        await self._connection.aclose()


class _Proxied:
    """One connection through a proxy."""

    def __init__(self, verify: ssl.SSLContext, proxy: str, check: Callable[[], None]) -> None:
        self._transport = httpx.AsyncHTTPTransport(
            verify=verify, trust_env=False, proxy=proxy, limits=_LIMITS
        )
        self._check = check

    def is_usable(self) -> bool:
        return True  # the transport connects anew where it must

    async def exchange(
        self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes | None
    ) -> httpx.Response:
        request = httpx.Request(
            method, url, headers=headers, content=content, extensions={"trace": self._traced}
        )
        try:
            response = await self._transport.handle_async_request(request)
            response.request = request
            await response.aread()
        except httpx.ConnectError as error:
            raise NotConnectedError(str(error) or type(error).__name__) from error
        except httpx.RequestError as error:
            raise LostConnectionError(str(error) or type(error).__name__) from error
        return response

    async def close(self) -> None:
        await self._transport.aclose()

    async def _traced(self, event: str, information: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            try:
                self._check()
            except BaseException:
                await information["return_value"].aclose()
                raise


class _Reader(asyncio.StreamReader):
    """Knows how much has come and was not read."""

    num_unread = 0

    def feed_data(self, data: Any) -> None:
        self.num_unread += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self.num_unread -= len(data)
        return data


class _Stream(httpcore.AsyncNetworkStream):
    """A stream of asyncio's, as httpcore takes it. Whoever asks bounds the time of the whole.

    What is written is sent where an answer to it is read: head and body at once, so that a server is woken once.
    """

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._written: list[bytes] = []

    @property
    def is_unsent(self) -> bool:
        """Is there a request that nobody has sent, because what came after the last answer was taken for its own?"""
        return bool(self._written)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            if self._written:
                await self._send()
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._written.append(buffer)

    async def _send(self) -> None:
        whole = b"".join(self._written)
        self._written.clear()
        # A server that has refused what was being sent may have answered all the same.
        with contextlib.suppress(OSError):
            self._writer.write(whole)
            await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)  # in which its descriptor is given back

    def get_extra_info(self, info: str) -> Any:
        """`is_readable`, of a connection on which nothing is awaited: has it ended, or has anything come that answers
        no request, as the word of a server that waited too long?"""
        if info == "is_readable":
            has_ended = self._reader.at_eof() or self._reader.exception() is not None
            return has_ended or self._reader.num_unread > 0 or self._writer.is_closing()
        return None


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _read(status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> httpx.Response:
    """Decoded, where it was compressed. Raises LostConnectionError: it cannot be."""
    response = httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))
    try:
        response.read()
    except httpx.DecodingError as error:
        raise LostConnectionError(str(error)) from error
    return response
