"""What the teacher did in a batch of rollouts: did it call tools, and did anything come of it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from turnmix.core.trajectory import Action, Trajectory
from turnmix.scaffold.text_calls import KnownTools, known_tools, read_calls, tools_in


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherAnswers:
    """Counts over rollouts that were judged."""

    answers: int
    """Actions and labels."""
    calls: int | None
    """Answers that call a tool; None: no tools are on offer."""
    acted: int
    """Rollouts in which it acted."""
    resolved: int
    """Those of them that are resolved."""

    def to_json(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in ("answers", "calls", "acted", "resolved")}


def count_teacher_answers(trajectories: Iterable[Trajectory]) -> TeacherAnswers:
    """An answer that was executed and is the label too counts once."""
    answers = calls = acted = resolved = 0
    has_tools = False
    for trajectory in trajectories:
        if trajectory.verdict is None:
            continue
        has_tools = has_tools or bool(trajectory.tools or tools_in(trajectory.prompt))
        for turn, known in zip(trajectory.turns, known_tools(trajectory), strict=True):
            has_tools = has_tools or bool(known.tools)
            said = turn.action if turn.actor == "teacher" else turn.label
            if said is not None:
                answers += 1
                calls += _calls_a_tool(said, known)
        if any(turn.actor == "teacher" for turn in trajectory.turns):
            acted += 1
            resolved += trajectory.verdict.resolved
    return TeacherAnswers(answers=answers, calls=calls if has_tools else None, acted=acted, resolved=resolved)


def _calls_a_tool(action: Action, known: KnownTools) -> bool:
    read = action if known.are_on_offer else read_calls(action, known.tools)
    return bool(read.message.tool_calls)
