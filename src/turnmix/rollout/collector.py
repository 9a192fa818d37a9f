"""Native rollouts, many at once: plans go in, trajectories come out in the same order. `admission` says which begin
together, and what becomes of failures."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from turnmix.core.errors import UserError
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Trajectory, Unfinished
from turnmix.environments.environment import Environment, TaskSource
from turnmix.policies.policy import Episode, Inspectable, Policy, PolicySession
from turnmix.rollout.accidents import Accidents, PendingAccident
from turnmix.rollout.admission import Member, collect_members
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.rollout import roll_out
from turnmix.rollout.slots import Slots, StageSlots
from turnmix.rollout.turn_recorder import Closable, TakesOver, close_quietly


class Collect(Protocol):
    """Rolls out plans, as `collect` does. What `on_trajectory` was given need not be returned too."""

    async def __call__(
        self,
        plans: Sequence[RolloutPlan],
        *,
        source: TaskSource,
        student: Policy,
        teacher: Policy | None,
        mixture: Mixture,
        label: bool | LabelGate,
        concurrency: int,
        on_trajectory: Callable[[Trajectory], None] | None = None,
        attempts: int = 3,
        unfinished: Unfinished = "unresolved",
        slots: StageSlots | None = None,
        accidents: Accidents | None = None,
        takes_over: TakesOver | None = None,
    ) -> list[Trajectory]: ...


async def collect(
    plans: Sequence[RolloutPlan],
    *,
    source: TaskSource,
    student: Policy,
    teacher: Policy | None,
    mixture: Mixture,
    label: bool | LabelGate,
    concurrency: int,
    on_trajectory: Callable[[Trajectory], None] | None = None,
    attempts: int = 3,
    backoff_seconds: float = 1.0,
    unfinished: Unfinished = "unresolved",
    clock: Callable[[], float] = time.perf_counter,
    slots: StageSlots | None = None,
    accidents: Accidents | None = None,
    takes_over: TakesOver | None = None,
) -> list[Trajectory]:
    """Roll out all plans, at most `concurrency` trajectories at a time (but always at least one cohort). `slots`:
    those shared with what runs beside; then `concurrency` is not looked at.

    `on_trajectory` is called once for each trajectory as it ends, infra_errors included. `label`: ask the
    teacher in the student's states too, or in those of them that a gate lets through. `accidents`: what happens once
    in some of them. `takes_over`: the teacher says first what it would do where the student is to act, and does it
    where this says so. The pause before attempt n is backoff_seconds · 2^(n−2). The policies stay open; every session
    and environment is closed, also when this is cancelled or raises (a UserError, or a bug).
    """
    if concurrency < 1 or attempts < 1:
        raise UserError(f"concurrency and attempts must be 1 or more, not {concurrency} and {attempts}")
    slots = slots or Slots(concurrency).first()
    if (label or takes_over) and teacher is None:
        raise UserError("labels are asked for, but there is no teacher: set `teacher`")

    def make(plan: RolloutPlan, cohort: str) -> Member:
        return _Rollout(
            plan=plan,
            cohort=cohort,
            source=source,
            student=student,
            teacher=teacher,
            mixture=mixture,
            label=label,
            unfinished=unfinished,
            clock=clock,
            accidents=accidents,
            takes_over=takes_over,
        )

    return await collect_members(
        plans,
        make=make,
        slots=slots,
        on_trajectory=on_trajectory,
        attempts=attempts,
        backoff_seconds=backoff_seconds,
    )


@dataclass(slots=True, kw_only=True)
class _Rollout:
    """One trajectory, in a world and with sessions of its own."""

    plan: RolloutPlan
    cohort: str
    source: TaskSource
    student: Policy
    teacher: Policy | None
    mixture: Mixture
    label: bool | LabelGate
    unfinished: Unfinished
    clock: Callable[[], float]
    accidents: Accidents | None
    takes_over: TakesOver | None
    _environment: Environment = field(init=False)
    _student_session: PolicySession = field(init=False)
    _teacher_session: PolicySession | None = None
    _accident: PendingAccident | None = None
    _opened: list[Closable] = field(default_factory=list)

    def open(self) -> None:
        environment = self._environment = self.source.environment(self.plan.task)
        self._opened.append(environment)
        seen = environment if isinstance(environment, Inspectable) else None
        self._student_session = self.student.begin(self._episode(None))
        self._opened.append(self._student_session)
        if self.teacher is not None:
            self._teacher_session = self.teacher.begin(self._episode(seen))
            self._opened.append(self._teacher_session)
        if self.accidents is not None:
            self._accident = self.accidents.begin(self._episode(seen))
            self._opened += [] if self._accident is None else [self._accident]

    async def run(self, attempt: int) -> Trajectory:
        plan = self.plan
        return await roll_out(
            plan,
            environment=self._environment,
            student_session=self._student_session,
            teacher_session=self._teacher_session,
            actors=self.mixture.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))),
            label=self.label,
            accident=self._accident,
            takes_over=self.takes_over,
            attempt=attempt,
            unfinished=self.unfinished,
            clock=self.clock,
        )

    async def close(self) -> None:
        for thing in reversed(self._opened):
            await close_quietly(thing)

    def _episode(self, inspectable: Inspectable | None) -> Episode:
        return Episode(
            trajectory_id=self.plan.trajectory_id,
            task=self.plan.task,
            seed=self.plan.seed,
            inspectable=inspectable,
            cohort=self.cohort,
        )
