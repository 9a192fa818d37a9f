"""Which trajectories are taught (paper App. F).

In: trajectories and a filter's name: one of these, or `package.module:Name`, a function of the user's own from a
trajectory to whether it is kept. Out: those kept, and counts of the others. An infra_error is never kept, whatever the
filter, and counted apart: it says nothing about the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.field_check import truth
from turnmix.core.plugins import load_plugin, telling_faults
from turnmix.core.trajectory import StopReason, Trajectory

Filter = Callable[[Trajectory], bool]
"""Is it kept? Asked of all but infra_errors; trajectories from elsewhere may have no verdict."""
FIELD = "data.filter"


def _resolved(trajectory: Trajectory) -> bool:
    return trajectory.verdict is not None and trajectory.verdict.resolved


FILTERS: Mapping[str, Filter] = {
    "submitted": lambda trajectory: trajectory.submitted,
    "resolved": _resolved,
    "finished": lambda trajectory: trajectory.stop_reason is StopReason.finished,
    "all": lambda trajectory: True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """What a filter kept, and how many it did not."""

    kept: tuple[Trajectory, ...]
    num_dropped: int
    """Judged and not kept."""
    num_infra_errors: int


def find_filter(name: str) -> Filter:
    """The filter of this name.

    Raises:
        UserError: it is a plugin's name, and names no function.
    """
    if name in FILTERS:
        return FILTERS[name]
    found: Any = load_plugin(name, field=FIELD)
    if not callable(found) or isinstance(found, type):
        raise UserError(
            f"{FIELD}: {name!r}: is no function: name one that takes a trajectory and returns whether it is kept"
        )
    return found  # type: ignore[no-any-return]


def apply_filter(name: str, trajectories: Iterable[Trajectory]) -> Filtered:
    """Keep the trajectories that the filter `name` keeps, in their order.

    Raises:
        PluginError: a filter of the user's own fails, or answers neither true nor false.
    """
    keeps = find_filter(name)
    kept: list[Trajectory] = []
    num_dropped = num_infra_errors = 0
    for trajectory in trajectories:
        if trajectory.stop_reason is StopReason.infra_error:
            num_infra_errors += 1
            continue
        with telling_faults(name):
            is_kept = truth(keeps(trajectory), field="the filter's answer")
        if is_kept:
            kept.append(trajectory)
        else:
            num_dropped += 1
    return Filtered(kept=tuple(kept), num_dropped=num_dropped, num_infra_errors=num_infra_errors)
