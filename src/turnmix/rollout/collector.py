"""Many trajectories at once: plans go in, trajectories come out in the same order.

cohort      begun together: every member's policy sessions are opened before any member runs, so that a
            local student knows whom to wait for and its batches never depend on timing
admission   the next cohort begins once all its members fit under `concurrency`, or nothing is open
failure     an infra_error is tried again from its start, alone, after a growing pause; the last one is
            returned, and counted, never a reward
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import StopReason, Trajectory, Unfinished
from turnmix.core.usage import Usage
from turnmix.environments.environment import Environment, TaskSource
from turnmix.policies.policy import Episode, Inspectable, Policy, PolicySession
from turnmix.rollout.accidents import Accidents, PendingAccident
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.rollout import roll_out
from turnmix.rollout.slots import Slots, StageSlots
from turnmix.rollout.turn_recorder import Closable, TakesOver, close_quietly


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
    finished: dict[str, Trajectory] = {}

    def keep(trajectory: Trajectory) -> None:
        if on_trajectory is not None:
            on_trajectory(trajectory)
        finished[trajectory.id] = trajectory

    members = _Members(
        source=source,
        student=student,
        teacher=teacher,
        mixture=mixture,
        label=label,
        attempts=attempts,
        backoff_seconds=backoff_seconds,
        unfinished=unfinished,
        clock=clock,
        keep=keep,
        accidents=accidents,
        takes_over=takes_over,
    )
    running = _Running(slots)
    try:
        with slots.admitting(running.notifier()):
            for cohort in _cohorts(plans):
                await running.wait_for_slots(len(cohort))
                for member in [members.begin(plan, plan.cohort) for plan in cohort]:
                    running.start(members.run(member))
        await running.all_ended()
    finally:
        await running.cancel()
        await members.close()
    return [finished[plan.trajectory_id] for plan in plans]


def _cohorts(plans: Sequence[RolloutPlan]) -> list[list[RolloutPlan]]:
    cohorts: dict[str, list[RolloutPlan]] = {}
    for plan in plans:
        cohorts.setdefault(plan.cohort, []).append(plan)
    if len({plan.trajectory_id for plan in plans}) < len(plans):
        raise ValueError("two plans share a trajectory id")
    return list(cohorts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A trajectory that has begun: its sessions are open."""

    plan: RolloutPlan
    environment: Environment
    student_session: PolicySession
    teacher_session: PolicySession | None
    accident: PendingAccident | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Members:
    """Begins trajectories, runs them with their further attempts, and knows which are open."""

    source: TaskSource
    student: Policy
    teacher: Policy | None
    mixture: Mixture
    label: bool | LabelGate
    attempts: int
    backoff_seconds: float
    unfinished: Unfinished
    clock: Callable[[], float]
    keep: Callable[[Trajectory], None]
    accidents: Accidents | None
    takes_over: TakesOver | None
    _open: dict[str, list[Closable]] = field(default_factory=dict)

    def begin(self, plan: RolloutPlan, cohort: str) -> _Member:
        environment = self.source.environment(plan.task)
        opened: list[Closable] = [environment]
        self._open[plan.trajectory_id] = opened

        def episode(inspectable: Inspectable | None) -> Episode:
            return Episode(
                trajectory_id=plan.trajectory_id,
                task=plan.task,
                seed=plan.seed,
                inspectable=inspectable,
                cohort=cohort,
            )

        seen = environment if isinstance(environment, Inspectable) else None
        student_session = self.student.begin(episode(None))
        opened.append(student_session)
        teacher_session = None
        if self.teacher is not None:
            teacher_session = self.teacher.begin(episode(seen))
            opened.append(teacher_session)
        accident = None if self.accidents is None else self.accidents.begin(episode(seen))
        if accident is not None:
            opened.append(accident)
        return _Member(
            plan=plan,
            environment=environment,
            student_session=student_session,
            teacher_session=teacher_session,
            accident=accident,
        )

    async def run(self, member: _Member) -> None:
        plan = member.plan
        lost: dict[str, Usage] = {}
        for attempt in range(1, self.attempts + 1):
            if attempt > 1:
                await asyncio.sleep(self.backoff_seconds * 2 ** (attempt - 2))
                member = self.begin(plan, f"{plan.trajectory_id}-attempt-{attempt}")
            trajectory = await roll_out(
                plan,
                environment=member.environment,
                student_session=member.student_session,
                teacher_session=member.teacher_session,
                actors=self.mixture.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))),
                label=self.label,
                accident=member.accident,
                takes_over=self.takes_over,
                attempt=attempt,
                unfinished=self.unfinished,
                clock=self.clock,
            )
            del self._open[plan.trajectory_id]
            # What a lost attempt cost was paid all the same.
            lost = {who: lost.get(who, Usage()) + used for who, used in trajectory.usage.items()}
            trajectory = replace(trajectory, usage=lost)
            if trajectory.stop_reason is not StopReason.infra_error:
                break
        self.keep(trajectory)

    async def close(self) -> None:
        """Close what began and never ran: a task cancelled before its first step closes nothing itself."""
        for opened in self._open.values():
            for thing in reversed(opened):
                await close_quietly(thing)


class _Running:
    """Tasks in flight, each in its slot; waiting on them costs nothing per task, so thousands are fine."""

    def __init__(self, slots: StageSlots) -> None:
        self._slots = slots
        self._num_held = 0
        """Slots taken."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._note_end)

    def notifier(self) -> Callable[[], None]:
        """What any thread may call when more slots may be free."""
        loop = asyncio.get_running_loop()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._changed.set)

        return notify

    async def wait_for_slots(self, number: int) -> None:
        """Wait until `number` more may begin. Raises what a task raised."""
        await self._until(lambda: self._slots.take(number))
        self._num_held += number

    async def all_ended(self) -> None:
        """Wait for all tasks. Raises what one raised."""
        await self._until(lambda: not self._tasks)

    async def cancel(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._give(self._num_held)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while self._failure is None:
            self._changed.clear()
            if is_so():
                return
            await self._changed.wait()
        raise self._failure

    def _give(self, number: int) -> None:
        self._num_held -= number
        self._slots.give(number)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._give(1)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
        self._changed.set()
