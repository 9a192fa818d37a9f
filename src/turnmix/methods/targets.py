"""From what happened to what is taught: the targets that methods choose from (paper Eq. 10 and 11).

In: trajectories. Out: transitions of weight 1, in the order of turns, and counts of what was not taught.

A target that is imitated is not taught when its tool call could not be parsed: the student would learn to
write it. What the student itself sampled is taught in any case: there the weight says how good it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from turnmix.core.trajectory import Action, Trajectory, Turn
from turnmix.core.transition import Transition
from turnmix.methods.method import Taught

Target = Callable[[Turn], Action | None]
"""The action taught in the state of a turn; None: nothing."""


def teacher_label(turn: Turn) -> Action | None:
    """The teacher's action in the state, whoever acted."""
    return turn.label


def executed_action(turn: Turn) -> Action | None:
    """What was executed, whoever acted."""
    return turn.action


def teachers_turn(turn: Turn) -> Action | None:
    """What was executed, where the teacher acted."""
    return turn.action if turn.actor == "teacher" else None


def imitate(trajectories: Iterable[Trajectory], target: Target) -> Taught:
    """One transition for each visited state that has a well-formed target; counts of the other states."""
    transitions: list[Transition] = []
    malformed = missing = 0
    for trajectory in trajectories:
        for index, turn in enumerate(trajectory.turns):
            action = target(turn)
            if action is None:
                missing += 1
            elif action.parse_error is not None:
                malformed += 1
            else:
                transitions.append(transition(trajectory, index, action))
    return Taught(
        transitions=transitions, figures={"targets_malformed": malformed, "targets_missing": missing}
    )


def sampled_turns(trajectory: Trajectory) -> list[Transition]:
    """The student's own turns, as the tokens that it sampled."""
    return [
        transition(trajectory, index, turn.action)
        for index, turn in enumerate(trajectory.turns)
        if turn.actor == "student" and turn.action.token_ids
    ]


def transition(trajectory: Trajectory, turn: int, target: Action) -> Transition:
    """Teach `target` in the state of turn `turn`."""
    return Transition(
        state=trajectory.state(turn), target=target, trajectory_id=trajectory.id, task_id=trajectory.task_id
    )
