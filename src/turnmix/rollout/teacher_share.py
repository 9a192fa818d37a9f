"""The realised teacher share: how much of what was executed came from the teacher.

In: trajectories. Out: the share by turns and by tokens, beside the nominal β_i of paper Eq. 8. Infra_errors
are left out: they are not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from turnmix.core.trajectory import Action, StopReason, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherShare:
    """Counts and shares of executed turns. A share is None where it was not computed."""

    num_turns: int
    num_teacher_turns: int
    num_tokens: int | None
    """Tokens of all executed actions; None when one of them was not counted."""
    num_teacher_tokens: int | None
    num_accidents: int = 0
    """Further turns, which were neither's."""

    @property
    def by_turns(self) -> float | None:
        return self.num_teacher_turns / self.num_turns if self.num_turns else None

    @property
    def by_tokens(self) -> float | None:
        if self.num_tokens is None or self.num_teacher_tokens is None or self.num_tokens == 0:
            return None
        return self.num_teacher_tokens / self.num_tokens


def reported_tokens(action: Action) -> int | None:
    """What the policy itself reported; None for one that has no tokens, such as a script or an oracle."""
    return action.completion_tokens


def teacher_share(
    trajectories: Iterable[Trajectory], *, count_tokens: Callable[[Action], int | None] = reported_tokens
) -> TeacherShare:
    """The realised share over all turns of `trajectories`.

    Student and teacher count tokens by their own tokenizers: for one measure pass a `count_tokens` that uses
    one of them.
    """
    executed = [
        turn
        for trajectory in trajectories
        if trajectory.stop_reason is not StopReason.infra_error
        for turn in trajectory.turns
    ]
    turns = [turn for turn in executed if turn.actor != "accident"]
    tokens = [(turn.actor, count_tokens(turn.action)) for turn in turns]
    counted = [(actor, number) for actor, number in tokens if number is not None]
    is_complete = len(counted) == len(tokens)
    return TeacherShare(
        num_turns=len(turns),
        num_teacher_turns=sum(turn.actor == "teacher" for turn in turns),
        num_tokens=sum(number for _, number in counted) if is_complete else None,
        num_teacher_tokens=(
            sum(number for actor, number in counted if actor == "teacher") if is_complete else None
        ),
        num_accidents=len(executed) - len(turns),
    )
