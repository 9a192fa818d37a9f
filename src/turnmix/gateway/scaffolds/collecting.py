"""Rollouts by a scaffold of the user's own: a request goes in, trajectories come out in the order of its plans, as
from a native collection: the same cohorts, slots and attempts.

In: what the recipe says of the scaffold, and of its bounds. Out: a gateway for the time of one collection, and in it a
session for each trajectory, which the scaffold asks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory
from turnmix.gateway.scaffolds.rollout import RolloutParts, ScaffoldRollout
from turnmix.gateway.scaffolds.settings import ForeignScaffoldSettings
from turnmix.gateway.serving.sessions import SessionBook
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.gateway.settings import GatewaySettings
from turnmix.rollout.admission import Member, collect_members
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.request import RolloutRequest
from turnmix.rollout.slots import Slots


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

    async def collect(self, request: RolloutRequest) -> list[Trajectory]:
        """As the native one. Raises UserError, too: the scaffold cannot be started, or asks nothing."""
        from turnmix.gateway.serving.gateway_server import GatewayServer
        from turnmix.gateway.serving.server import Gateway

        if request.accidents is not None:
            raise UserError("accidents do not happen to a scaffold of your own")
        if request.concurrency > self.gateway.max_sessions:
            raise UserError(
                f"rollouts.concurrency: {request.concurrency}: more than the gateway's sessions: raise "
                f"rollouts.gateway.max_sessions, which is {self.gateway.max_sessions}"
            )
        book = SessionBook(self.gateway)
        parts = RolloutParts(
            collector=self,
            scaffold=self.settings.make(has_sandbox=self.has_sandbox),
            book=book,
            request=request,
        )

        def make(plan: RolloutPlan, cohort: str) -> Member:
            return ScaffoldRollout(plan, cohort, parts)

        async with GatewayServer(Gateway(book)):
            collecting = asyncio.create_task(
                collect_members(
                    request.plans,
                    make=make,
                    slots=request.slots or Slots(request.concurrency).first(),
                    on_trajectory=request.on_trajectory,
                    attempts=request.attempts,
                    backoff_seconds=request.backoff_seconds,
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
