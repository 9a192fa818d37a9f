"""Retokenisation drift, counted: student turns that later prompts show otherwise than they were sampled.

In: trajectories. Out: how many student turns a later prompt repeats, and in how many of them it does not hold
the tokens that the student sampled, because parsing and rendering changed the text or because the template
rewrites history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from turnmix.core.trajectory import State, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Student turns in the last prompt of each trajectory."""

    turns: int
    """Those with sampled tokens that a later prompt repeats: all but a trajectory's last."""
    differing: int
    """Those of them whose sampled tokens that prompt does not hold."""

    def to_json(self) -> dict[str, int]:
        return {"turns": self.turns, "differing": self.differing}


class KeepsTurns(Protocol):
    """A renderer that knows which turns of a history it repeats as sampled."""

    def kept_turns(self, state: State) -> Sequence[bool | None]:
        """For each assistant message of `state`, in order: kept as sampled? None: it has no tokens."""
        ...


def count_drift(trajectories: Iterable[Trajectory], renderer: KeepsTurns) -> Drift:
    """Drift in the last prompt of each trajectory, which repeats every earlier turn."""
    turns = differing = 0
    for trajectory in trajectories:
        past = trajectory.turns[:-1]
        if not any(turn.actor == "student" and turn.action.token_ids for turn in past):
            continue
        kept = renderer.kept_turns(trajectory.state(len(past)))[-len(past) :]
        for turn, is_kept in zip(past, kept, strict=True):
            if turn.actor == "student" and is_kept is not None:
                turns += 1
                differing += not is_kept
    return Drift(turns=turns, differing=differing)
