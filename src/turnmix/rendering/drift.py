"""Retokenisation drift, counted: student turns that later prompts show otherwise than they were sampled.

In: trajectories. Out: how many student turns a later prompt repeats, and in how many of them it does not hold
the tokens that the student sampled, because parsing and rendering changed the text or because the template
rewrites history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from turnmix.core.lines import ends
from turnmix.core.message import Message
from turnmix.core.trajectory import State, Trajectory, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Student turns in the last prompt of each line of a trajectory."""

    turns: int
    """Those with sampled tokens that a later prompt repeats: all but a line's last. Each counts once."""
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
    """Drift in the last prompt of each line, which repeats every earlier turn of it."""
    turns = differing = 0
    for trajectory in trajectories:
        counted: set[int] = set()
        for end in ends(trajectory):
            said = [each for each in trajectory.history(end) if _is_said(each)]
            sampled = {each for each in said if isinstance(each, int) and _is_sampled(trajectory.turns[each])}
            if not sampled - counted:
                continue
            for each, is_kept in zip(said, renderer.kept_turns(trajectory.state(end)), strict=True):
                if each in sampled and each not in counted and is_kept is not None:
                    turns += 1
                    differing += not is_kept
            counted |= sampled
    return Drift(turns=turns, differing=differing)


def _is_said(each: Message | int) -> bool:
    return isinstance(each, int) or each.role == "assistant"


def _is_sampled(turn: Turn) -> bool:
    return turn.actor == "student" and bool(turn.action.token_ids)
