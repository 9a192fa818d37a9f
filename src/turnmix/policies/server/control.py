"""What a server is asked beside completions: its health, its models, new weights. Plain synchronous calls.

In: a method, a path, a JSON body. Out: a `Reply` or a `Fault`. Not to be called in an event loop's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from turnmix.core.event_loop import run_coroutine
from turnmix.policies.endpoint.retry import Fault
from turnmix.policies.endpoint.settings import read_key, redacted_url

if TYPE_CHECKING:
    from turnmix.policies.endpoint.client import Guard, Reply

QUICK_SECONDS = 10.0
"""For what a server answers at once."""


class ServerControl:
    """One server. Paths count from its root, one above the `/v1` of its endpoint."""

    def __init__(
        self,
        endpoint: str,
        *,
        api_key_environment: str | None = None,
        key: SecretStr | None = None,
        guard: Guard | None = None,
    ) -> None:
        """`api_key_environment`: the variable that holds its key; None: `key`, if any. `guard`: see
        `EndpointClient`."""
        self.endpoint = endpoint
        self._root = endpoint.removesuffix("/v1")
        self._key = read_key("student.server", api_key_environment) or key
        self._guard = guard

    @property
    def where(self) -> str:
        """The endpoint as it may be shown."""
        return redacted_url(self.endpoint)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float = QUICK_SECONDS,
    ) -> Reply | Fault:
        """One request and its whole response."""
        from turnmix.policies.endpoint.client import EndpointClient

        async def sending() -> Reply | Fault:
            client = EndpointClient(self._root, self._key, max_idle=1, guard=self._guard)
            try:
                return await client.send(method, path, body, timeout=timeout)
            finally:
                await client.close()

        return run_coroutine(sending())

    def is_healthy(self) -> bool:
        """Does it answer, and say that it is well?"""
        reply = self.send("GET", "/health")
        return not isinstance(reply, Fault) and reply.status == 200


def failure_of(reply: Reply | Fault) -> str | None:
    """What went wrong, in a line; None: nothing."""
    if isinstance(reply, Fault):
        return reply.detail
    return None if reply.status // 100 == 2 else f"HTTP {reply.status}: {reply.excerpt}"
