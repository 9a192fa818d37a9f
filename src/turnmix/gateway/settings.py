"""The gateway's limits. In: a recipe's section `rollouts.gateway`. Out: what server and
sessions are held to."""

from __future__ import annotations

from pydantic import Field

from turnmix.core.bounded_file import MEBIBYTE
from turnmix.core.settings import Settings


class GatewaySettings(Settings):
    """What scaffolds may ask of the gateway, and how long it waits for them."""

    max_request_bytes: int = Field(default=64 * MEBIBYTE, ge=1024)
    """Of one request's body; a longer one is refused."""
    max_sessions: int = Field(default=4096, ge=1)
    """Open at one moment."""
    max_requests_per_session: int = Field(default=64, ge=1)
    """Unanswered at one moment, of one session."""
    idle_seconds: float = Field(default=3600.0, gt=0)
    """A session that was opened from outside and asks nothing for so long is given up: its task is free for another
    attempt."""
