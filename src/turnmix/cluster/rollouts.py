"""Collections on the workers of a cluster, in place of those in this process: a request goes in, trajectories come out.

In: a recipe with a section `cluster`, and a directory. Out: what the loop and evaluations take for a collector, and a
student whose policies act on workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

from turnmix.assembly.student import LearningStudent
from turnmix.cluster.acting import StudentOnWorkers, WeightStore, WorkersPolicy
from turnmix.cluster.counts import NodeCounts
from turnmix.cluster.learning import PlacedStudent
from turnmix.cluster.order import Order, ProcessParts, WorkerParts
from turnmix.cluster.served import SentServed
from turnmix.cluster.worker import RolloutWorker
from turnmix.cluster.workers import Workers
from turnmix.core.trajectory import Trajectory
from turnmix.loop.parts import Student
from turnmix.recipe.recipe import Recipe, recipe_yaml
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.mixture import TeacherMixture
from turnmix.rollout.plan import cohorts_of
from turnmix.rollout.request import Collect, RolloutRequest


class ClusterRollouts:
    """The workers of one run or evaluation, as its stages see them."""

    def __init__(self, recipe: Recipe, workers: Workers, counts: NodeCounts) -> None:
        self._workers = workers
        self._counts = counts
        self._weights = WeightStore(recipe)

    def collector(self, *, is_taught: bool) -> Collect:
        """What collects on workers. `is_taught`: it is learned from what comes out."""
        return partial(self._collect, is_taught=is_taught)

    def acting(self, student: LearningStudent | PlacedStudent, *, checkpoint: Path | None) -> Student:
        """The same student, which stands at `checkpoint`, acting on workers; through its server, if it has one."""
        return (
            student
            if student.server is not None
            else cast(Student, StudentOnWorkers(student, checkpoint=checkpoint))
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """What each machine did since this was last asked."""
        return self._counts.taken()

    async def _collect(self, request: RolloutRequest, *, is_taught: bool) -> list[Trajectory]:
        """As `rollout.collector.collect`. Source and teacher are each worker's own, of the same recipe."""
        found: dict[str, Trajectory | None] = {}
        student, slots = request.student, request.slots

        async def keep(trajectory: Trajectory) -> None:
            if trajectory.id in found:
                return
            found[trajectory.id] = trajectory if request.on_trajectory is None else None
            if request.on_trajectory is not None:
                request.on_trajectory(trajectory)

        is_nobody = isinstance(request.mixture, TeacherMixture) and not isinstance(student, WorkersPolicy)
        sent = self._weights.sent(student) if isinstance(student, WorkersPolicy) else SentServed.of(student)
        order = Order(
            plans=(),
            student=None if is_nobody else sent or student,
            asks_teacher=request.teacher is not None,
            mixture=request.mixture,
            label=request.label,
            attempts=request.attempts,
            backoff_seconds=request.backoff_seconds,
            unfinished=request.unfinished,
            accidents=None if request.accidents is None else _without_policy(request.accidents),
            takes_over=request.takes_over,
            is_taught=is_taught,
        )
        orders = (replace(order, plans=cohort) for cohort in cohorts_of(request.plans))
        await self._workers.do(orders, keep=keep, is_first=slots is None or slots.is_first)
        returned = (found[plan.trajectory_id] for plan in request.plans)
        return [trajectory for trajectory in returned if trajectory is not None]


def _without_policy(accidents: Accidents) -> Callable[..., Accidents]:
    said = {each.name: getattr(accidents, each.name) for each in fields(accidents) if each.name != "policy"}
    return partial(Accidents, **said)


@contextmanager
def cluster_rollouts(
    recipe: Recipe, *, directory: Path, moment: datetime | None, say: Callable[[str], None]
) -> Iterator[ClusterRollouts | None]:
    """Inside, the workers of a recipe; None: it names no cluster. `directory`: of the run or the evaluation. `say` is
    told of what is lost.

    Raises:
        UserError: there is no such cluster.
    """
    if recipe.cluster is None:
        yield None
        return
    parts = WorkerParts(
        recipe_yaml=recipe_yaml(recipe),
        moment=moment,
        process=ProcessParts.here(),
        logs=directory.absolute(),
    )
    counts = NodeCounts(directory)
    with Workers(
        RolloutWorker,
        parts,
        recipe.cluster,
        run=directory.name,
        concurrency=recipe.rollouts.concurrency,
        counts=counts,
        say=say,
    ) as workers:
        yield ClusterRollouts(recipe, workers, counts)
