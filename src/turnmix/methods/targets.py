"""From what happened to what is taught: the two targets that methods choose from (paper Eq. 10 and 11).

In: trajectories. Out: transitions of weight 1, in the order of turns, and counts of what was not taught. A
target whose tool call could not be parsed is never taught: the student would learn to write it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from turnmix.core.trajectory import Action, Trajectory, Turn
from turnmix.core.transition import Transition

Target = Callable[[Turn], Action | None]
"""The action taught in the state of a turn; None: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCounts:
    """What became of the visited states of some trajectories."""

    taught: int
    malformed: int
    """There was a target, but its tool call could not be parsed."""
    missing: int
    """There was no target."""


def teacher_label(turn: Turn) -> Action | None:
    """The teacher's action in the state, whoever acted."""
    return turn.label


def executed_action(turn: Turn) -> Action | None:
    """What was executed, whoever acted."""
    return turn.action


def teach(trajectories: Iterable[Trajectory], target: Target) -> list[Transition]:
    """One transition for each visited state that has a well-formed target."""
    transitions: list[Transition] = []
    for trajectory in trajectories:
        for index, turn in enumerate(trajectory.turns):
            action = target(turn)
            if action is not None and action.parse_error is None:
                transitions.append(
                    Transition(
                        state=trajectory.state(index),
                        target=action,
                        trajectory_id=trajectory.id,
                        task_id=trajectory.task_id,
                    )
                )
    return transitions


def count_targets(trajectories: Iterable[Trajectory], target: Target = teacher_label) -> TargetCounts:
    """How many visited states have a target that is taught, a malformed one, or none."""
    targets = [target(turn) for trajectory in trajectories for turn in trajectory.turns]
    present = [action for action in targets if action is not None]
    malformed = sum(action.parse_error is not None for action in present)
    return TargetCounts(
        taught=len(present) - malformed, malformed=malformed, missing=len(targets) - len(present)
    )
