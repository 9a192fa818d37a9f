"""Connections to one endpoint, each used by one request at a time.

In: a request. Out: its whole response. A pool of httpx's looks through all its connections for each request that comes
or goes: with 64 in use that takes several times as long as the rest of an exchange. Where no proxy stands between,
h11, which httpx speaks HTTP with, does so over a stream of asyncio's own; the layers between the two, which also serve
other event loops, take longer than both.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import h11
import httpx

KEPT_SECONDS = 5.0
"""A connection that nobody uses, as httpx keeps it."""
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_SECONDS)
_NEXT_ADDRESS_SECONDS = 0.25
"""Until the next address of a host is tried beside the one that has not answered."""
_MOST_HEAD = 100 * 1024
"""Bytes of an answer's status and headers, as httpx bounds them."""
_MOST_READ = 64 * 1024


class NotConnectedError(Exception):
    """No connection could be made."""


class LostConnectionError(Exception):
    """A connection that was made gave no whole response."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes


class _Connection(Protocol):
    def is_usable(self) -> bool:
        """May a further request be sent on it?"""
        ...

    async def exchange(
        self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes | None
    ) -> Response:
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
    ) -> Response:
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
    """One connection without a proxy. h11 speaks HTTP; whoever asks bounds the time of the whole."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._http = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._reader = reader
        self._writer = writer
        self._kept_until = 0.0
        """0: it serves no further request."""

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
        connection = cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        try:
            check()
        except BaseException:
            await connection.close()
            raise
        return connection

    def is_usable(self) -> bool:
        """Has it neither ended, nor has anything come that answers no request, as the word of a server that waited
        too long?"""
        has_ended = self._reader.at_eof() or self._reader.exception() is not None or self._writer.is_closing()
        return time.monotonic() < self._kept_until and not has_ended and not self._reader.num_unread

    async def exchange(
        self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes | None
    ) -> Response:
        self._kept_until = 0.0
        try:
            self._send(method, url, headers, content)
            head = await self._next()
            while isinstance(head, h11.InformationalResponse):
                head = await self._next()
            if not isinstance(head, h11.Response):
                raise LostConnectionError("the server ended the connection without an answer")
            pieces: list[bytes] = []
            while isinstance(piece := await self._next(), h11.Data):
                pieces.append(bytes(piece.data))
        except (OSError, h11.ProtocolError) as error:
            raise LostConnectionError(str(error) or type(error).__name__) from error
        http = self._http
        is_sent = not self._writer.transport.get_write_buffer_size()
        # What came along with an answer is not taken for the next one.
        if (
            http.our_state is h11.DONE
            and http.their_state is h11.DONE
            and not http.trailing_data[0]
            and is_sent
        ):
            http.start_next_cycle()
            self._kept_until = time.monotonic() + KEPT_SECONDS
        return _read(head.status_code, head.headers.raw_items(), b"".join(pieces))

    async def close(self) -> None:
        self._kept_until = 0.0
        self._writer.transport.abort()
        await asyncio.sleep(0)  # in which its descriptor is given back

    def _send(self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes | None) -> None:
        """Head and body at once, so that a server is woken once."""
        fields = headers.raw if "host" in headers else [(b"host", url.netloc), *headers.raw]
        if content is not None:
            fields = [*fields, (b"content-length", b"%d" % len(content))]
        request = h11.Request(method=method, target=url.raw_path, headers=fields)
        written = self._http.send_with_data_passthrough(request) or []
        for event in (h11.Data(data=content or b""), h11.EndOfMessage()):
            written += self._http.send_with_data_passthrough(event) or []
        # Nobody waits until it is sent: a server that refuses it may answer before, and read no further.
        self._writer.write(b"".join(written))

    async def _next(self) -> object:
        """The next event of the answer. Raises LostConnectionError, OSError, h11.ProtocolError."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(_MOST_READ)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise LostConnectionError("the server ended the connection without an answer")
            self._http.receive_data(data)
        return event


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
    ) -> Response:
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
        read = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, read, response.content)

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
    """Knows how much has come and was not read. That is read too where the connection was lost behind it: to a server
    that has refused and gone, sending on is an error."""

    num_unread = 0

    def set_exception(self, exc: Exception) -> None:
        if self.num_unread:
            self.feed_eof()
        else:
            super().set_exception(exc)

    def feed_data(self, data: Any) -> None:
        self.num_unread += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self.num_unread -= len(data)
        return data


def _read(status: int, raw: list[tuple[bytes, bytes]], content: bytes) -> Response:
    """Decoded, where it was compressed. Raises LostConnectionError: it cannot be."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "replace")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "content-encoding" in headers:
        response = httpx.Response(status, headers=raw, stream=httpx.ByteStream(content))
        try:
            content = response.read()
        except httpx.DecodingError as error:
            raise LostConnectionError(str(error)) from error
    return Response(status, headers, content)
