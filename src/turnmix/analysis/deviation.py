"""Where a trajectory leaves what its teacher would have done. In: turns with labels. Out: agreement, turn by turn."""

from __future__ import annotations

from turnmix.core.trajectory import Action, Trajectory, Turn


def agrees(turn: Turn) -> bool | None:
    """Is the executed action the teacher's label: the same calls, by tool and arguments; where neither calls a tool,
    the same text? None: there is no label, or the action was an accident."""
    if turn.label is None or turn.actor == "accident":
        return None
    return _said(turn.action) == _said(turn.label)


def first_deviation(trajectory: Trajectory) -> int | None:
    """The first turn, from 0, at which they do not agree; the states up to it are those that the teacher might have
    come to. None: there is none."""
    return next((place for place, turn in enumerate(trajectory.turns) if agrees(turn) is False), None)


def _said(action: Action) -> object:
    calls = [(call.name, dict(call.arguments)) for call in action.message.tool_calls]
    return calls or action.message.content
