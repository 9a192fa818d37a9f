"""Connections to one endpoint, each used by one request at a time.

In: a request. Out: its whole response. A pool of httpx's looks through all its connections for each request that comes
or goes: with 64 in use that takes several times as long as the rest of an exchange.
"""

from __future__ import annotations

import ssl
import time
from collections import deque

import httpx

KEPT_SECONDS = 5.0
"""A connection that nobody uses, as httpx keeps it."""
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_SECONDS)


class Connections:
    """Those of one event loop; any number may be in use at once."""

    def __init__(self, *, verify: ssl.SSLContext, proxy: str | None, max_idle: int) -> None:
        self._verify = verify
        self._proxy = proxy
        self._max_idle = max_idle
        self._idle: deque[tuple[float, httpx.AsyncHTTPTransport]] = deque()
        """The latest used last, each with when it was."""
        self._used: set[httpx.AsyncHTTPTransport] = set()

    async def exchange(self, request: httpx.Request) -> httpx.Response:
        """The response, read whole. Raises httpx.RequestError."""
        connection = self._idle.pop()[1] if self._idle else self._new()
        self._used.add(connection)
        try:
            response = await connection.handle_async_request(request)
            response.request = request
            await response.aread()
        except BaseException:
            # Nobody knows what may still come on it.
            await connection.aclose()
            raise
        else:
            self._idle.append((time.monotonic(), connection))
        finally:
            self._used.discard(connection)
        if self._idle[0][0] < time.monotonic() - KEPT_SECONDS or len(self._idle) > self._max_idle:
            await self._idle.popleft()[1].aclose()
        return response

    async def close(self) -> None:
        connections = [*self._used, *(connection for _, connection in self._idle)]
        self._idle.clear()
        for connection in connections:
            await connection.aclose()

    def _new(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(
            verify=self._verify, trust_env=False, proxy=self._proxy, limits=_LIMITS
        )
