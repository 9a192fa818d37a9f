"""What the server asks of a dialect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError


class Dialect(Protocol):
    """One of the ways in which models are asked over HTTP."""

    @property
    def path(self) -> str: ...

    def read(self, body: Mapping[str, Any]) -> tuple[ModelRequest, bool]:
        """The request, and whether its answer is to be streamed. Raises RequestError."""
        ...

    def write(self, answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to the request `body`."""
        ...

    def events(self, answer: ModelAnswer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """The same as a stream."""
        ...

    def heartbeat(self) -> bytes:
        """What a stream holds while the answer is not there."""
        ...

    def error(self, error: RequestError) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body, headers."""
        ...

    def error_event(self, error: RequestError) -> bytes:
        """Where the stream has begun."""
        ...
