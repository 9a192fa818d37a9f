"""Rollouts by a scaffold of the user's own: plans go in, trajectories come out in the same order, as from a native
collection: the same cohorts, slots and attempts.

In: what the recipe says of the scaffold, and of its bounds. Out: a gateway for the time of one collection, and in it a
session for each trajectory, which the scaffold asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory, Unfinished
from turnmix.environments.environment import TaskSource
from turnmix.gateway.scaffolds.rollout import RolloutParts, ScaffoldRollout
from turnmix.gateway.scaffolds.settings import ForeignScaffoldSettings
from turnmix.gateway.serving.sessions import SessionBook
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.gateway.settings import GatewaySettings
from turnmix.policies.policy import Policy
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.admission import Member, collect_members
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.slots import Slots, StageSlots
from turnmix.rollout.turn_recorder import TakesOver


@dataclass(frozen=True, kw_only=True)
class ScaffoldCollector:
    """Collects as `rollout.collector` does, by a scaffold of the user's own."""

    settings: ForeignScaffoldSettings
    gateway: GatewaySettings
    max_turns: int
    max_tokens: int
    count: TokenCounter
    has_sandbox: bool
    """Do the tasks have one?"""
    logs: Path | None
    """The directory of the run or the evaluation, where what scaffolds say is kept."""
    is_taught: bool
    """Is learned from what comes out? Then a trajectory of which nothing can be is a mistake."""

    async def collect(
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
        backoff_seconds: float = 1.0,
        unfinished: Unfinished = "unresolved",
        clock: Callable[[], float] = time.perf_counter,
        slots: StageSlots | None = None,
        accidents: Accidents | None = None,
        takes_over: TakesOver | None = None,
    ) -> list[Trajectory]:
        """As the native one. Raises UserError, too: the scaffold cannot be started, or asks nothing."""
        from turnmix.gateway.serving.gateway_server import GatewayServer
        from turnmix.gateway.serving.server import Gateway

        if accidents is not None:
            raise UserError("accidents do not happen to a scaffold of your own")
        if concurrency > self.gateway.max_sessions:
            raise UserError(
                f"rollouts.concurrency: {concurrency}: more than the gateway's sessions: raise "
                f"rollouts.gateway.max_sessions, which is {self.gateway.max_sessions}"
            )
        book = SessionBook(self.gateway)
        parts = RolloutParts(
            collector=self,
            scaffold=self.settings.make(has_sandbox=self.has_sandbox),
            book=book,
            source=source,
            student=student,
            teacher=teacher,
            mixture=mixture,
            label=label,
            takes_over=takes_over,
            unfinished=unfinished,
            clock=clock,
        )

        def make(plan: RolloutPlan, cohort: str) -> Member:
            return ScaffoldRollout(plan, cohort, parts)

        async with GatewayServer(Gateway(book)):
            collecting = asyncio.create_task(
                collect_members(
                    plans,
                    make=make,
                    slots=slots or Slots(concurrency).first(),
                    on_trajectory=on_trajectory,
                    attempts=attempts,
                    backoff_seconds=backoff_seconds,
                )
            )
            failing = asyncio.create_task(book.failed())
            try:
                await asyncio.wait({collecting, failing}, return_when=asyncio.FIRST_COMPLETED)
                if not collecting.done():
                    failing.result()
                return await collecting
            finally:
                for task in (failing, collecting):
                    task.cancel()
                await asyncio.gather(failing, collecting, return_exceptions=True)
                await book.close()
