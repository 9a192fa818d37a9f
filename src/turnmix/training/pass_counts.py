"""In: the passes of optimiser steps. Out: how many rows they compute, and how many of them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from turnmix.training.batching import Pass


@dataclass(slots=True, kw_only=True)
class PassCounts:
    """Of all epochs of a fit, on all ranks."""

    budget_rows: int
    """What `learner.tokens_per_pass` asks for."""
    ranks: int
    rows: int = 0
    """Computed in all passes."""
    repeated_rows: int = 0
    """Those among them that another part of the same tree computes too."""
    idle_rows: int = 0
    """Those among them that a rank computes only to keep step with the others."""
    largest_rows: int = 0
    """Of the largest pass."""
    longest_rows: int = 0
    """Of the longest transition."""
    largest_tree_rows: int = 0
    """Of the largest tree before it was split."""

    def add(self, dealt: Sequence[Sequence[Pass]]) -> None:
        """Count the passes of one step, those of each rank."""
        for each in (each for passes in dealt for each in passes):
            rows = sum(map(len, each.trees))
            self.rows += rows
            self.largest_rows = max(self.largest_rows, rows)
            self.longest_rows = max(self.longest_rows, *(tree.longest_path for tree in each.trees))
            self.largest_tree_rows = max(self.largest_tree_rows, *(tree.whole_rows for tree in each.trees))
            if each.is_counted:
                self.repeated_rows += sum(tree.repeated_rows for tree in each.trees)
            else:
                self.idle_rows += rows

    def to_json(self) -> dict[str, int]:
        return asdict(self)
