"""What is taught: a state, a target action and its weight (paper Eq. 11 and 14)."""

from __future__ import annotations

from dataclasses import dataclass

from turnmix.core.trajectory import Action, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One supervised pair: learn `target` in `state`, every target token weighted by `weight`."""

    state: State
    target: Action
    weight: float = 1.0
    trajectory_id: str
    """Transitions of one trajectory share prefixes: they are packed together."""
