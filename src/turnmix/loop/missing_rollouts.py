"""A stage's trajectories: plans and a log go in; the log holds a trajectory of every plan when it is left.

Each trajectory is on the disk before it counts, so what is killed at any moment goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from turnmix.core.errors import InfrastructureError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.loop.parts import Progress
from turnmix.rollout.plan import RolloutPlan, unfinished_cohorts
from turnmix.store.append_log import TrajectoryLog

LARGEST_INFRA_SHARE = 0.5
"""A stage in which more than this share of trajectories failed around the agent stops the run."""

Keep = Callable[[Trajectory], None]
Collecting = Callable[[list[RolloutPlan], Keep], Coroutine[Any, Any, None]]
"""Rolls out plans, and gives each trajectory away as it ends. Called outside of an event loop."""


def roll_out_missing(
    stage: str,
    plans: Sequence[RolloutPlan],
    *,
    log: TrajectoryLog,
    collecting: Collecting,
    progress: Progress,
    tick: Callable[[], None],
    run: Callable[[Coroutine[Any, Any, None]], None] = run_coroutine,
) -> None:
    """Roll out the plans that `log` lacks, each trajectory stored as it ends. `tick` is called after each; `run` runs
    what rolls out.

    Raises:
        InfrastructureError: too many failed around the agent. None of those is stored.
    """
    held = [plan.trajectory_id for plan in plans if plan.trajectory_id in log]
    missing = unfinished_cohorts(plans, set(held))
    counted = held if missing else ()  # each that is read is parsed and checked
    resolved = sum(trajectory.verdict.resolved for trajectory in log.read(counted) if trajectory.verdict)
    infra_errors: list[Trajectory] = []
    done = len(held)
    iteration = plans[0].iteration
    progress.begin(stage, iteration, total=len(plans), done=done)

    def keep(trajectory: Trajectory) -> None:
        nonlocal done, resolved
        if trajectory.id in log:
            return
        if trajectory.stop_reason is StopReason.infra_error:
            infra_errors.append(trajectory)
        else:
            log.append(trajectory)
            resolved += bool(trajectory.verdict and trajectory.verdict.resolved)
        done += 1
        failed = f", {len(infra_errors)} infra errors" if infra_errors else ""
        progress.advance(stage, iteration, done=done, note=f"{resolved} resolved{failed}")
        tick()

    if missing:
        run(collecting(missing, keep))
    # Stored last, so that a run stopped by an outage tries them again when it is resumed.
    if len(infra_errors) > LARGEST_INFRA_SHARE * len(plans):
        raise InfrastructureError(
            f"{stage} {iteration}: {len(infra_errors)} of {len(plans)} trajectories failed around "
            f"the agent; the first: {infra_errors[0].error}"
        )
    for trajectory in infra_errors:
        log.append(trajectory)
