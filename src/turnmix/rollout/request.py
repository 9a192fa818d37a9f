"""What is asked of whoever rolls out: which plans, who acts and labels in them, and how many at a time.

In: what the loop, an evaluation or an analysis wants. Out: a request, which any collector takes: the native one, one
that runs a scaffold of the user's own, or one that has the workers of a cluster do it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory, Unfinished
from turnmix.environments.environment import TaskSource
from turnmix.policies.policy import Policy
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.slots import StageSlots
from turnmix.rollout.turn_recorder import TakesOver


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """Trajectories to be. The policies stay open; whoever opened them closes them.

    Raises:
        UserError: it cannot be met by anyone.
    """

    plans: Sequence[RolloutPlan]
    source: TaskSource
    student: Policy
    teacher: Policy | None
    mixture: Mixture
    label: bool | LabelGate
    """Ask the teacher in the student's states too, or in those of them that a gate lets through."""
    concurrency: int
    """Trajectories at a time; but always at least one cohort."""
    slots: StageSlots | None = None
    """Those shared with what runs beside; then `concurrency` is not looked at."""
    attempts: int = 3
    """Of each plan, where what is around the agent fails."""
    backoff_seconds: float = 1.0
    """The pause before attempt n is backoff_seconds · 2^(n−2)."""
    unfinished: Unfinished = "unresolved"
    accidents: Accidents | None = None
    """What happens once in some of the trajectories."""
    takes_over: TakesOver | None = None
    """The teacher says first what it would do where the student is to act, and does it where this says so."""
    on_trajectory: Callable[[Trajectory], None] | None = None
    """Given each trajectory once, as it ends, infra_errors included: then none is held or returned."""

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.attempts < 1:
            raise UserError(
                f"concurrency and attempts must be 1 or more, not {self.concurrency} and {self.attempts}"
            )
        if (self.label or self.takes_over) and self.teacher is None:
            raise UserError("labels are asked for, but there is no teacher: set `teacher`")


Collect = Callable[[RolloutRequest], Coroutine[Any, Any, list[Trajectory]]]
"""A request -> its trajectories, in the order of its plans; none, where `on_trajectory` was given them."""
