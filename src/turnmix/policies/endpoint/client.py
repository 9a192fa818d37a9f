"""One HTTP exchange with an endpoint, by httpx: imported only when a first request is sent.

In: a method, a path, a JSON body. Out: a `Reply`, or a `Fault` when the connection failed. Holds the key, and
shows it to nobody: it is replaced in whatever the server says, before anything reads it, and no httpx exception leaves
(they carry the request).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr

from turnmix.core.file_descriptors import shortage
from turnmix.core.json_text import json_bytes
from turnmix.core.redaction import HIDDEN, keep_secret, redacted, redacted_bytes
from turnmix.core.time_bound import within
from turnmix.policies.endpoint.connections import (
    Connections,
    LostConnectionError,
    NotConnectedError,
    Response,
)
from turnmix.policies.endpoint.retry import TIMEOUT, Fault
from turnmix.policies.endpoint.route import certificates, proxy_for
from turnmix.policies.endpoint.settings import redacted_url, secrets_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole HTTP response."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)
    """Without secrets, so too below."""
    excerpt: str
    """The start of the body as one line, for messages."""
    location: str | None = None
    """Where it redirects to, without query and credentials."""


Guard = Callable[[], "str | None"]
"""Why nothing may be sent now; None: nothing stands against it."""


class _Refused(Exception):
    """The guard refused a connection that had just been made."""


class EndpointClient:
    """Connections to one endpoint, in one event loop."""

    def __init__(self, url: str, key: SecretStr | None, *, max_idle: int, guard: Guard | None = None) -> None:
        """`url`: the base URL. Credentials in it go into a header and out of the URL. `guard` is
        asked before each request, and once more on each new connection, before the first byte."""
        self._guard = guard
        parsed = httpx.URL(url)
        self._base = parsed.copy_with(username=None, password=None)
        self._urls: dict[str, httpx.URL] = {}
        """By the path of a request."""
        self._secrets = list(secrets_of(url))
        headers = {
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "content-type": "application/json",
            "user-agent": f"turnmix python-httpx/{httpx.__version__}",
        }
        if parsed.userinfo:
            basic = httpx.BasicAuth(parsed.username, parsed.password)
            signed = next(basic.auth_flow(httpx.Request("GET", self._base)))
            headers["authorization"] = signed.headers["authorization"]
        if key is not None:
            self._secrets.append(key.get_secret_value())
            headers.setdefault("authorization", f"Bearer {key.get_secret_value()}")
        self._headers = httpx.Headers(headers)
        proxy = proxy_for(url)
        # The proxy's password may stand in what a failed connection says.
        self._secrets += secrets_of(proxy or "")
        for secret in self._secrets:
            keep_secret(secret)
        self._through = f" through the proxy {redacted_url(proxy)}" if proxy else ""
        is_secured = parsed.scheme == "https" or (proxy or "").startswith("https")
        # Time is bounded as a whole, by `send`: httpx's own limits are per read, and a server that trickles
        # keep-alive bytes never meets them. What the environment says is read here: httpx stumbles over forms of it.
        self._connections = Connections(
            verify=certificates() if is_secured else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            proxy=proxy,
            max_idle=max_idle,
            check=self._check,
        )

    async def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float
    ) -> Reply | Fault:
        """One request and its whole response, within `timeout` seconds."""
        content = None
        if body is not None:
            content = json_bytes(body)
        if (url := self._urls.get(path)) is None:
            url = self._urls[path] = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        if self._guard is not None and (refusal := self._guard()) is not None:
            return Fault(remedy="retry", cause="connect", detail=refusal)
        try:
            response = await within(timeout, self._connections.exchange(method, url, self._headers, content))
        except asyncio.TimeoutError:
            return Fault(remedy="retry", cause=TIMEOUT, detail=f"no whole answer within {timeout:g} s")
        except _Refused as error:
            return Fault(remedy="retry", cause="connect", detail=str(error))
        except NotConnectedError as error:
            detail = self._redact(f"cannot connect{self._through}: {shortage(error) or error}")
            return Fault(remedy="retry", cause="connect", detail=detail)
        except LostConnectionError as error:
            detail = self._redact(f"connection lost: {shortage(error) or error}")
            return Fault(remedy="retry", cause="connection_lost", detail=detail)
        said = redacted_bytes(response.content)
        text = said[:65536].decode("utf-8", "replace")
        return Reply(
            status=response.status,
            headers={name: redacted(value) for name, value in response.headers.items()},
            body=said,
            excerpt=self._redact(" ".join(text.split()))[:500],
            location=self._location(url, response),
        )

    def _check(self) -> None:
        """Raises _Refused."""
        if self._guard is not None and (refusal := self._guard()) is not None:
            raise _Refused(refusal)

    def _location(self, url: httpx.URL, response: Response) -> str | None:
        location = response.headers.get("location")
        if location is None or response.status // 100 != 3:
            return None
        try:
            return self._redact(redacted_url(str(url.join(location))))
        except (httpx.InvalidURL, ValueError):
            return "an address that is none"

    def _redact(self, text: str) -> str:
        """Also without secrets so short that they are hidden in messages alone."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return redacted(text)

    async def close(self) -> None:
        await self._connections.close()
