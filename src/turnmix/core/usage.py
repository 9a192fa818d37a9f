"""What asking a policy cost: requests and tokens.

>>> (Usage(requests=2, input_tokens=10) + Usage(requests=1, retries=1)).to_json()["requests"]
3
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one policy, as far as its server tells."""

    requests: int = 0
    """Sent to a server, retries among them; 0: it acts in this process."""
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input: those that the server had read before."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            requests=self.requests + other.requests,
            retries=self.retries + other.retries,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        return self + Usage(**{name: -number for name, number in other.to_json().items()})

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in Usage.__slots__}


def total_usage(usages: Iterable[Mapping[str, Usage]]) -> dict[str, dict[str, int]]:
    """The sum by who was asked, as JSON; only those who were."""
    total: dict[str, Usage] = {}
    for usage in usages:
        for who, used in usage.items():
            total[who] = total.get(who, Usage()) + used
    return {who: used.to_json() for who, used in sorted(total.items()) if used != Usage()}


def usage_from_json(data: Mapping[str, Any]) -> dict[str, Usage]:
    return {who: Usage(**numbers) for who, numbers in data.items()}
