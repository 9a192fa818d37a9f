"""One HTTP exchange with an endpoint, by httpx: imported only when a first request is sent.

In: a method, a path, a JSON body. Out: a `Reply`, or a `Fault` when the connection failed. Holds the key, and
shows it to nobody: it is replaced in whatever the server says, and no httpx exception leaves (they carry the
request).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr

from turnmix.core.json_text import json_text
from turnmix.policies.endpoint_retry import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole HTTP response."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)
    excerpt: str
    """The start of the body as one line without secrets, for messages."""


class EndpointClient:
    """Connections to one endpoint, in one event loop."""

    def __init__(self, url: str, key: SecretStr | None, *, max_idle: int) -> None:
        """`url`: the base URL. Credentials in it go into a header and out of the URL, which httpx logs."""
        parsed = httpx.URL(url)
        self._base = parsed.copy_with(username=None, password=None)
        self._secrets = [parsed.password] if parsed.password else []
        headers = {"content-type": "application/json"}
        auth = httpx.BasicAuth(parsed.username, parsed.password) if parsed.userinfo else None
        if key is not None:
            self._secrets.append(key.get_secret_value())
            if auth is None:
                headers["authorization"] = f"Bearer {key.get_secret_value()}"
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=max_idle)
        # Time is bounded as a whole, by `send`: httpx's own limits are per read, and a server that trickles
        # keep-alive bytes never meets them.
        # A proxy in the environment does not reach this machine's own servers.
        is_local = self._base.host in ("localhost", "127.0.0.1", "::1")
        self._http = httpx.AsyncClient(
            headers=headers, auth=auth, limits=limits, timeout=None, trust_env=not is_local
        )

    async def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float
    ) -> Reply | Fault:
        """One request and its whole response, within `timeout` seconds."""
        content = None
        if body is not None:
            content = json_text(body, ensure_ascii=False).encode("utf-8", "replace")
        url = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        try:
            request = self._http.request(method, url, content=content)
            response = await asyncio.wait_for(request, timeout)
        except asyncio.TimeoutError:
            return Fault(remedy="retry", cause="timeout", detail=f"no whole answer within {timeout:g} s")
        except httpx.ConnectError as error:
            return Fault(remedy="retry", cause="connect", detail=self._redact(f"cannot connect: {error}"))
        except httpx.RequestError as error:
            detail = self._redact(f"connection lost: {error or type(error).__name__}")
            return Fault(remedy="retry", cause="connection_lost", detail=detail)
        text = response.content[:65536].decode("utf-8", "replace")
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=response.content,
            excerpt=self._redact(" ".join(text.split()))[:500],
        )

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def close(self) -> None:
        await self._http.aclose()
