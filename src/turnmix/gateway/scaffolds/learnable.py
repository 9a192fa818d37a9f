"""Can anything be learned from what a scaffold did? In: a trajectory. Out: whether there is something to teach."""

from __future__ import annotations

from turnmix.core.trajectory import Trajectory
from turnmix.rollout.labels import LabelGate


def is_learnable(trajectory: Trajectory, *, label: bool | LabelGate) -> bool:
    """Does it hold a label, or tokens that the student sampled? Where a gate chooses which labels are bought, none may
    be, and there may be nothing."""
    return not isinstance(label, bool) or any(
        turn.label is not None or turn.action.token_ids is not None for turn in trajectory.turns
    )
