"""Who acts in one trajectory, turn by turn."""

from __future__ import annotations

from collections.abc import Callable

from turnmix.core.trajectory import Actor, State

Actors = Callable[[int, State], Actor]
"""One trajectory's indicator: turn index from 0, and what whoever acts will see -> who acts."""


def from_one(iteration: int) -> int:
    """`iteration`. Raises ValueError: it is not counted from 1."""
    if iteration < 1:
        raise ValueError(f"iterations are counted from 1, not {iteration}")
    return iteration
