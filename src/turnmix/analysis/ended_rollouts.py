"""How rollouts ended, without what was said in them: all that is needed to count.

In: an analysis. Out: of each trajectory that the agent ended, one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnmix.analysis.agreement import judged
from turnmix.analysis.remembered import remembered
from turnmix.analysis.stored import StoredAnalysis
from turnmix.analysis.table import Share
from turnmix.core.trajectory import Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRollout:
    """One trajectory that did not fail around the agent."""

    is_resolved: bool
    num_turns: int
    num_teacher_turns: int
    has_accident: bool
    """Did one happen in it?"""


@remembered
def ended_rollouts(analysis: StoredAnalysis, name: str) -> tuple[EndedRollout, ...]:
    """Of the rollout `name`, in the order of tasks. Raises UserError: a trajectory is damaged."""
    return tuple(
        EndedRollout(
            is_resolved=bool(each.verdict and each.verdict.resolved),
            num_turns=len(each.turns),
            num_teacher_turns=sum(turn.actor == "teacher" for turn in each.turns),
            has_accident=has_accident(each),
        )
        for each in analysis.rollouts(name)
        if judged(each)
    )


def has_accident(trajectory: Trajectory) -> bool:
    """Did one happen in it?"""
    return any(turn.actor == "accident" for turn in trajectory.turns)


def resolved_share(rollouts: Sequence[EndedRollout]) -> Share:
    return Share(count=sum(each.is_resolved for each in rollouts), of=len(rollouts))
