"""Which trajectories are taught (paper App. F).

In: trajectories and a filter's name. Out: those kept, and counts of the others. An infra_error is never kept,
whatever the filter, and counted apart: it says nothing about the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from turnmix.core.trajectory import StopReason, Trajectory, Verdict

FilterName = Literal["submitted", "resolved", "all"]

FILTERS: Mapping[FilterName, Callable[[Verdict], bool]] = {
    "submitted": lambda verdict: verdict.submitted,
    "resolved": lambda verdict: verdict.resolved,
    "all": lambda verdict: True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """What a filter kept, and how many it did not."""

    kept: tuple[Trajectory, ...]
    num_dropped: int
    """Judged and not kept."""
    num_infra_errors: int


def apply_filter(name: FilterName, trajectories: Iterable[Trajectory]) -> Filtered:
    """Keep the trajectories that the filter `name` keeps, in their order."""
    keeps = FILTERS[name]
    kept: list[Trajectory] = []
    num_dropped = num_infra_errors = 0
    for trajectory in trajectories:
        if trajectory.stop_reason is StopReason.infra_error or trajectory.verdict is None:
            num_infra_errors += 1
        elif keeps(trajectory.verdict):
            kept.append(trajectory)
        else:
            num_dropped += 1
    return Filtered(kept=tuple(kept), num_dropped=num_dropped, num_infra_errors=num_infra_errors)
