"""Trajectories that begin in cohorts, whatever rolls them out: plans go in, trajectories come out in the same order.

cohort      begun together: every member's policy sessions are opened before any member runs, so that a
            local student knows whom to wait for and its batches never depend on timing
admission   the next cohort begins once all its members fit into the slots, or nothing is open
failure     an infra_error is tried again from its start, alone, after a growing pause; the last one is
            returned, and counted, never a reward
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from turnmix.core.errors import UserError
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.core.usage import Usage
from turnmix.rollout.plan import RolloutPlan, cohorts_of
from turnmix.rollout.slots import StageSlots
from turnmix.rollout.turn_recorder import close_quietly


class Member(Protocol):
    """A trajectory of a cohort."""

    def open(self) -> None:
        """Open its policy sessions. Called once, for all members of a cohort before any of them runs."""

    async def run(self, attempt: int) -> Trajectory:
        """Roll it out, and close all that it holds, whatever happens. Called once."""
        ...

    async def close(self) -> None:
        """Free what one holds that never ran. Safe to call twice."""


MakeMember = Callable[[RolloutPlan, str], Member]
"""A plan and the name of its cohort -> its trajectory, of which nothing is open."""


async def collect_members(
    plans: Sequence[RolloutPlan],
    *,
    make: MakeMember,
    slots: StageSlots,
    on_trajectory: Callable[[Trajectory], None] | None = None,
    attempts: int = 3,
    backoff_seconds: float = 1.0,
) -> list[Trajectory]:
    """Roll out all plans, as many at a time as `slots` says.

    `on_trajectory` is given each trajectory once, as it ends, infra_errors included: then none is held or returned. The
    pause before attempt n is backoff_seconds · 2^(n−2). All that began is closed, also when this is cancelled or raises
    (a UserError, or a bug).
    """
    if attempts < 1:
        raise UserError(f"attempts must be 1 or more, not {attempts}")
    finished: dict[str, Trajectory] = {}

    def hold(trajectory: Trajectory) -> None:
        finished[trajectory.id] = trajectory

    keep = hold if on_trajectory is None else on_trajectory
    members = _Members(make=make, attempts=attempts, backoff_seconds=backoff_seconds, keep=keep)
    running = _Running(slots)
    try:
        with slots.admitting(running.notifier()):
            for cohort in cohorts_of(plans):
                await running.wait_for_slots(len(cohort))
                for plan, member in [(plan, members.begin(plan, plan.cohort)) for plan in cohort]:
                    running.start(members.run(plan, member))
        await running.all_ended()
    finally:
        await running.cancel()
        await members.close()
    return [finished[plan.trajectory_id] for plan in plans] if on_trajectory is None else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Members:
    """Runs trajectories with their further attempts, and knows which are open."""

    make: MakeMember
    attempts: int
    backoff_seconds: float
    keep: Callable[[Trajectory], None]
    _open: dict[str, Member] = field(default_factory=dict)

    def begin(self, plan: RolloutPlan, cohort: str) -> Member:
        member = self._open[plan.trajectory_id] = self.make(plan, cohort)
        member.open()
        return member

    async def run(self, plan: RolloutPlan, member: Member) -> None:
        lost: dict[str, Usage] = {}
        for attempt in range(1, self.attempts + 1):
            if attempt > 1:
                await asyncio.sleep(self.backoff_seconds * 2 ** (attempt - 2))
                member = self.begin(plan, f"{plan.trajectory_id}-attempt-{attempt}")
            trajectory = await member.run(attempt)
            del self._open[plan.trajectory_id]
            # What a lost attempt cost was paid all the same.
            lost = {who: lost.get(who, Usage()) + used for who, used in trajectory.usage.items()}
            trajectory = replace(trajectory, usage=lost)
            if trajectory.stop_reason is not StopReason.infra_error:
                break
        self.keep(trajectory)

    async def close(self) -> None:
        """Close what began and never ran: a task cancelled before its first step closes nothing itself."""
        for member in self._open.values():
            await close_quietly(member)


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
