"""Does the student do what the teacher would? In: trajectories with labels. Out: agreement by turn, and deviations.

>>> from turnmix.policies.scripted import call_action, text_action
>>> agree(call_action("add", amount=1), call_action("add", amount=3))
False
>>> agree(text_action("done "), text_action("done"))
True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnmix.core.lines import paths
from turnmix.core.message import ToolSpecification
from turnmix.core.trajectory import Action, StopReason, Trajectory
from turnmix.scaffold.text_calls import known_tools, read_calls


def agree(action: Action, label: Action, tools: Sequence[ToolSpecification] = ()) -> bool:
    """Do both call the same tools with the same arguments? Where neither calls one: do both say the same? `tools`: what
    calls written as text may call."""
    if action.parse_error is not None or label.parse_error is not None:
        return False
    ours, theirs = _calls(action, tools), _calls(label, tools)
    if ours or theirs:
        return ours == theirs
    return action.message.content.strip() == label.message.content.strip()


def agreements(trajectory: Trajectory) -> list[bool | None]:
    """Of each turn; None: there is no label, or it was an accident, which nobody chose."""
    return [
        None
        if turn.label is None or turn.actor == "accident"
        else turn.label is turn.action or agree(turn.action, turn.label, known.tools)
        for turn, known in zip(trajectory.turns, known_tools(trajectory), strict=True)
    ]


def since_deviation(trajectory: Trajectory, agreed: Sequence[bool | None]) -> list[int | None]:
    """Of each turn how many turns its line is past its first one in which they do not agree, which is 0; before it
    negative; None: its line never deviates. Where lines part, the nearest deviation counts."""
    since: list[int | None] = [None] * len(agreed)
    for turn, path in enumerate(paths(trajectory)):
        deviation = first_deviation([agreed[each] for each in path])
        if deviation is None:
            continue
        since[turn] = len(path) - 1 - deviation
        if since[turn] == 0:
            for place, each in enumerate(path[:-1]):
                before = place - deviation
                if (known := since[each]) is None or before > known:
                    since[each] = before
    return since


def first_deviation(agreed: Sequence[bool | None]) -> int | None:
    """The first turn, from 0, in which they do not agree; None: there is none."""
    return next((turn for turn, is_agreed in enumerate(agreed) if is_agreed is False), None)


def judged(trajectory: Trajectory) -> bool:
    """Did it end by the agent's doing? What failed around the agent tells nothing of it."""
    return trajectory.verdict is not None and trajectory.stop_reason is not StopReason.infra_error


def _calls(action: Action, tools: Sequence[ToolSpecification]) -> list[tuple[str, dict[str, Any]]]:
    calls = action.message.tool_calls or (
        read_calls(action, tuple(tools)).message.tool_calls if tools else ()
    )
    return [(call.name, dict(call.arguments)) for call in calls]
