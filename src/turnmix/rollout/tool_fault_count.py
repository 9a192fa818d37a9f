"""How often tools failed. In: trajectories, one by one. Out: a row for each tool and place."""

from __future__ import annotations

from collections import Counter
from typing import Any

from turnmix.core.trajectory import Trajectory


class ToolFaultCount:
    """Counts what happened, infra_errors included."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._errors: dict[tuple[str, str], str] = {}

    def add(self, trajectory: Trajectory) -> None:
        """Count the faults of one more trajectory."""
        for turn in trajectory.turns:
            for fault in turn.tool_faults:
                self._numbers[fault.tool, fault.place] += 1
                self._errors.setdefault((fault.tool, fault.place), fault.error)

    def to_json(self) -> list[dict[str, Any]]:
        """The most frequent first, each with the error that came first."""
        return [
            {"tool": tool, "place": place, "error": self._errors[tool, place], "count": number}
            for (tool, place), number in self._numbers.most_common()
        ]
