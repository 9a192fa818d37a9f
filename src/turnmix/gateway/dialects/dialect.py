"""What each dialect can do. In: a body, an answer, or what was wrong. Out: a request, a body, or server-sent events.

Bodies are written as plain JSON values; the tests hold each of them against the vendors' own models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from turnmix.gateway.dialects.known import Known
from turnmix.gateway.model_request import Fault, ModelAnswer, ModelRequest, RequestError

STATUSES: Mapping[Fault, int] = {
    "invalid_request": 400,
    "context_exceeded": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "unavailable": 503,
    "internal": 500,
}


class Dialect(Protocol):
    """One vendor's way of asking. Nothing of a conversation is kept in it."""

    path: str
    """Below the base URL."""

    def read(self, body: Mapping[str, Any], known: Known[Any] | None = None) -> tuple[ModelRequest, bool]:
        """The request in a body, and whether its answer is to be streamed. `known`: of the requests before it.

        Raises:
            RequestError: something in it is wrong, or asks for what the gateway does not do.
        """
        ...

    def write(self, answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's body. `body`: the request's, which was read."""
        ...

    def events(self, answer: ModelAnswer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """The answer as a whole stream of server-sent events."""
        ...

    def heartbeat(self) -> bytes:
        """What is sent while an answer is computed, so that nobody cuts the connection."""
        ...

    def error(self, error: RequestError) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body and headers."""
        ...

    def error_event(self, error: RequestError) -> bytes:
        """The end of a stream that has begun."""
        ...


def error_headers(error: RequestError) -> dict[str, str]:
    """Whether the vendors' clients ask again. They would where a session has ended (409), in vain."""
    if error.fault == "unavailable":
        return {"retry-after": "1", "x-should-retry": "true"}
    return {"x-should-retry": "false"} if error.fault == "conflict" else {}
