"""That a tool failed: its own code, not the agent's call. The agent is told, and a person too, at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFault:
    """One failure of a tool."""

    tool: str
    """As the agent calls it."""
    place: str
    """File and line, and which code: `my_tools.py:12 (my_tools:Dice)`."""
    error: str
    """`KeyError: 'x'`, one line."""

    def to_json(self) -> dict[str, Any]:
        return {"tool": self.tool, "place": self.place, "error": self.error}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToolFault:
        return cls(tool=data["tool"], place=data["place"], error=data["error"])
