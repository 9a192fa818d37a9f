"""Native rollouts, many at once: a request goes in, trajectories come out in the order of its plans. `admission` says
which begin together, and what becomes of failures."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import Environment
from turnmix.policies.policy import Episode, Inspectable, PolicySession
from turnmix.rollout.accidents import PendingAccident
from turnmix.rollout.admission import Member, collect_members
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.request import RolloutRequest
from turnmix.rollout.rollout import roll_out
from turnmix.rollout.slots import Slots
from turnmix.rollout.turn_recorder import Closable, close_quietly


async def collect(request: RolloutRequest) -> list[Trajectory]:
    """Roll out what is asked for. Every session and environment is closed, also when this is cancelled or raises (a
    UserError, or a bug)."""

    def make(plan: RolloutPlan, cohort: str) -> Member:
        return _Rollout(plan=plan, cohort=cohort, request=request)

    return await collect_members(
        request.plans,
        make=make,
        slots=request.slots or Slots(request.concurrency).first(),
        on_trajectory=request.on_trajectory,
        attempts=request.attempts,
        backoff_seconds=request.backoff_seconds,
    )


@dataclass(slots=True, kw_only=True)
class _Rollout:
    """One trajectory, in a world and with sessions of its own."""

    plan: RolloutPlan
    cohort: str
    request: RolloutRequest
    _environment: Environment = field(init=False)
    _student_session: PolicySession = field(init=False)
    _teacher_session: PolicySession | None = None
    _accident: PendingAccident | None = None
    _opened: list[Closable] = field(default_factory=list)

    def open(self) -> None:
        request = self.request
        environment = self._environment = request.source.environment(self.plan.task)
        self._opened.append(environment)
        seen = environment if isinstance(environment, Inspectable) else None
        self._student_session = request.student.begin(self._episode(None))
        self._opened.append(self._student_session)
        if request.teacher is not None:
            self._teacher_session = request.teacher.begin(self._episode(seen))
            self._opened.append(self._teacher_session)
        if request.accidents is not None:
            self._accident = request.accidents.begin(self._episode(seen))
            self._opened += [] if self._accident is None else [self._accident]

    async def run(self, attempt: int) -> Trajectory:
        plan, request = self.plan, self.request
        return await roll_out(
            plan,
            environment=self._environment,
            student_session=self._student_session,
            teacher_session=self._teacher_session,
            actors=request.mixture.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))),
            label=request.label,
            accident=self._accident,
            takes_over=request.takes_over,
            attempt=attempt,
            unfinished=request.unfinished,
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
