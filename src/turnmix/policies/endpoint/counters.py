"""How often an endpoint was asked, and what that cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from turnmix.core.usage import Usage


@dataclass(slots=True, kw_only=True)
class EndpointCounters:
    """What an endpoint was asked and what it cost, since the policy was made."""

    requests: int = 0
    """Attempts sent, retries among them."""
    answers: int = 0
    retries: dict[str, int] = field(default_factory=dict)
    """Attempts that were repeated, by cause: `429`, `500`, `timeout`, `connect`, `connection_lost`, …"""
    failures: int = 0
    """Actions given up after all attempts."""
    context_exceeded: int = 0
    """Conversations too long for the model."""
    prompt_tokens: int = 0
    """As far as the endpoint reports usage; so too below."""
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of `prompt_tokens`: those that the endpoint had read before."""

    @property
    def usage(self) -> Usage:
        return Usage(
            requests=self.requests,
            retries=sum(self.retries.values()),
            input_tokens=self.prompt_tokens,
            output_tokens=self.completion_tokens,
            cached_tokens=self.cached_tokens,
        )


def count(counting: Sequence[EndpointCounters], **numbers: int) -> None:
    """Add `numbers` to the figures of the same names in each of `counting`."""
    for counters in counting:
        for name, number in numbers.items():
            setattr(counters, name, getattr(counters, name) + number)
