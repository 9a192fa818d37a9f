"""What is to be rolled out, decided before anything runs.

In: tasks, an iteration and the run's seed. Out: plans. A plan fixes everything of a trajectory that is drawn,
so it can be run again to the same end: after a failure of the infrastructure, or by a resumed run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from turnmix.core.seed import derive_seed
from turnmix.core.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """One trajectory to be."""

    trajectory_id: str
    task: Task
    iteration: int
    seed: int
    """Seeds the mixture's and the policies' draws for this trajectory."""
    cohort: str
    """Trajectories with one cohort name begin together and generate in lockstep."""
    beta: float | None
    """The nominal teacher share, recorded with the trajectory."""


def make_plans(
    tasks: Sequence[Task],
    *,
    iteration: int,
    seed: int,
    cohort_size: int,
    beta: float | None,
    samples_per_task: int = 1,
    prefix: str = "i",
) -> list[RolloutPlan]:
    """Plans for one iteration: `samples_per_task` neighbouring ones a task, in cohorts of `cohort_size`.

    Ids read `i001-00042`: prefix, iteration, index. The seed of a trajectory comes from
    (seed, prefix, iteration, index).
    """
    if cohort_size < 1 or samples_per_task < 1:
        raise ValueError(
            f"cohort_size and samples_per_task must be 1 or more, not {cohort_size} and {samples_per_task}"
        )
    batch = f"{prefix}{iteration:03d}"
    return [
        RolloutPlan(
            trajectory_id=f"{batch}-{index:05d}",
            task=tasks[index // samples_per_task],
            iteration=iteration,
            seed=derive_seed(seed, prefix, iteration, index),
            cohort=f"{batch}-cohort-{index // cohort_size:04d}",
            beta=beta,
        )
        for index in range(len(tasks) * samples_per_task)
    ]


def cohorts_of(plans: Sequence[RolloutPlan]) -> list[list[RolloutPlan]]:
    """The plans by cohort, in order. Raises ValueError: two are of one trajectory."""
    cohorts: dict[str, list[RolloutPlan]] = {}
    for plan in plans:
        cohorts.setdefault(plan.cohort, []).append(plan)
    if len({plan.trajectory_id for plan in plans}) < len(plans):
        raise ValueError("two plans share a trajectory id")
    return list(cohorts.values())


def unfinished_cohorts(plans: Sequence[RolloutPlan], finished_ids: Collection[str]) -> list[RolloutPlan]:
    """The plans of every cohort that lacks a member: what a resumed run still has to roll out.

    A cohort is run again whole, because its members' batches were generated together; members that had
    finished come out the same a second time.
    """
    lacking = {plan.cohort for plan in plans if plan.trajectory_id not in finished_ids}
    return [plan for plan in plans if plan.cohort in lacking]
