"""How a trajectory ended, as its world judges it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnmix.core.field_check import truth
from turnmix.core.json_text import json_copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the verifier found about the final state of the world."""

    resolved: bool
    reward: float | None = None
    """How well the trajectory ended, where the world says it by a finite number; None: the world says no more than
    `resolved`. Every number that Python can make a float of is taken as one."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else the world says, by name, as JSON; it is kept and shown. `submitted` is known: see `Trajectory`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolved", truth(self.resolved, field="Verdict.resolved"))
        if self.reward is not None:
            object.__setattr__(self, "reward", _finite("reward", self.reward))
        if self.details:
            object.__setattr__(self, "details", _plain("details", self.details))

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"resolved": self.resolved}
        if self.reward is not None:
            data["reward"] = self.reward
        if self.details:
            data["details"] = dict(self.details)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        # Earlier versions wrote the details beside `resolved`.
        details = {
            name: value for name, value in data.items() if name not in ("resolved", "reward", "details")
        }
        return cls(
            resolved=data["resolved"],
            reward=data.get("reward"),
            details={**details, **data.get("details", {})},
        )


def _finite(name: str, value: Any) -> float:
    """`value` as a float. Raises ValueError: it is no finite number. Who made the verdict is at fault."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name}: {value!r} in a verdict; give a finite number, or None where there is none")
    return number


def _plain(name: str, value: Mapping[str, Any]) -> Any:
    """`value` as it comes back from a store. Raises ValueError: it is no mapping that JSON can hold."""
    try:
        return json_copy(dict(value))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: a verdict's are a mapping of names to what JSON holds (texts, finite numbers, true, false, null, "
            f"lists and mappings): {error}"
        ) from error
