"""One trajectory of a scaffold of the user's own: a plan goes in; what happened comes out.

    reset the world ─► open a session ─► run the scaffold ─► end the session ─► verdict, labels

Failures of what is around the scaffold make it an `infra_error`, as native ones do. What the scaffold does wrong is
data; that it asks nothing at all is the user's mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import State, StopReason, Trajectory
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Environment, HasSandbox
from turnmix.gateway.model_request import ModelRequest
from turnmix.gateway.scaffolds.learnable import is_learnable
from turnmix.gateway.scaffolds.log import ScaffoldLog, opened_log
from turnmix.gateway.scaffolds.report import verdict_of
from turnmix.gateway.scaffolds.run_operation import run_operation
from turnmix.gateway.scaffolds.watched_session import WatchedSession
from turnmix.gateway.scaffolds.work import Place, RunScaffold, ScaffoldEnd, ScaffoldWork
from turnmix.gateway.serving.sessions import OpenedSession, SessionBook
from turnmix.gateway.session.bounds import SessionBounds
from turnmix.gateway.session.session import Session, SessionParts
from turnmix.policies.policy import Inspectable
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.request import RolloutRequest
from turnmix.rollout.rollout import judged
from turnmix.rollout.turn_recorder import close_quietly
from turnmix.sandboxes.sandbox import SandboxEnded, SandboxLimitExceeded

if TYPE_CHECKING:
    from turnmix.gateway.scaffolds.collecting import ScaffoldCollector

_NOTHING_LEFT = Verdict(resolved=False, details={"submitted": False})


@dataclass(frozen=True, kw_only=True)
class RolloutParts:
    """What all trajectories of one collection share."""

    collector: ScaffoldCollector
    scaffold: RunScaffold
    book: SessionBook
    request: RolloutRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How the scaffold's part ended."""

    stop_reason: StopReason
    end: ScaffoldEnd | None = None
    """None: it was ended."""
    has_lost_world: bool = False
    """There is no final state to judge."""


class ScaffoldRollout:
    """A member of a cohort."""

    def __init__(self, plan: RolloutPlan, cohort: str, parts: RolloutParts) -> None:
        self._plan = plan
        self._cohort = cohort
        self._parts = parts
        collector = parts.collector
        self._settings = collector.settings
        self._bounds = SessionBounds(max_turns=collector.max_turns, max_tokens=collector.max_tokens)
        self._environment: Environment | None = None
        self._session: Session | None = None
        self._log = ScaffoldLog(None)

    def open(self) -> None:
        parts, plan, request = self._parts, self._plan, self._parts.request
        if parts.collector.has_sandbox:
            self._environment = request.source.environment(plan.task)
        seen = self._environment if isinstance(self._environment, Inspectable) else None
        self._session = Session(
            replace(plan, cohort=self._cohort),
            SessionParts(
                student=request.student,
                teacher=request.teacher,
                actors=request.mixture.actors(
                    plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))
                ),
                label=request.label,
                count=parts.collector.count,
                inspectable=seen,
                takes_over=request.takes_over,
                bounds=self._bounds,
            ),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._environment is not None:
            await close_quietly(self._environment)

    async def run(self, attempt: int) -> Trajectory:
        """Raises UserError: the scaffold asked nothing, or nothing of what it did can be learned."""
        assert self._session is not None
        session_id = self._plan.trajectory_id + (f"-attempt-{attempt}" if attempt > 1 else "")
        ended = _Ended(stop_reason=StopReason.infra_error)
        error: str | None = None
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(self.close)
            place = None
            try:
                place = await self._place()
            except InfrastructureError as failure:
                error = _told(failure)
            watched = WatchedSession(
                self._session,
                seconds=self._settings.seconds,
                sandbox=None if place is None else place.sandbox,
            )
            if error is None:
                opened = self._hold(watched, session_id, place)
                closing.push_async_callback(self._parts.book.end, session_id)
                secrets = [opened.key, opened.path.rpartition("/")[2]]
                logs = self._parts.collector.logs
                self._log = closing.enter_context(
                    opened_log(logs, self._plan.trajectory_id, is_first=attempt == 1, secrets=secrets)
                )
                try:
                    ended = await self._worked(watched, opened, place)
                except InfrastructureError as failure:
                    error = _told(failure)
                finally:
                    watched.end()
            trajectory = await self._session.end(
                ended.stop_reason,
                lambda: self._verdict(ended),
                label_seconds=self._settings.label_seconds,
                attempt=attempt,
                error=error,
            )
        self._check(trajectory, watched)
        return trajectory

    async def _place(self) -> Place | None:
        """The task's world, laid out."""
        if self._environment is None:
            return None
        await self._environment.reset()
        if not isinstance(self._environment, HasSandbox):
            raise UserError(
                f"rollouts.scaffold: task {self._plan.task.id}: its world shows no sandbox in which a scaffold could "
                "work: give its environment `sandbox` and `working_directory`"
            )
        return Place(sandbox=self._environment.sandbox, working_directory=self._environment.working_directory)

    def _hold(self, watched: WatchedSession, session_id: str, place: Place | None) -> OpenedSession:
        session, collector = self._session, self._parts.collector
        assert session is not None

        def count(request: ModelRequest) -> int:
            return collector.count.prompt(State(messages=request.messages, tools=request.tools))

        return self._parts.book.hold(
            watched,
            id=session_id,
            run=None if place is None else run_operation(place),
            count=count,
            figures=lambda: {"turns": session.num_turns, "lines": session.num_lines},
        )

    async def _worked(self, watched: WatchedSession, opened: OpenedSession, place: Place | None) -> _Ended:
        """Run the scaffold until it ends, its time is over, or its session has failed."""
        assert self._session is not None
        work = ScaffoldWork(
            task=self._plan.task,
            seed=derive_seed(self._plan.seed, "scaffold"),
            session=opened,
            place=place,
            log=self._log,
        )
        watched.begin()
        running = asyncio.ensure_future(self._parts.scaffold(work))
        waiting = [asyncio.ensure_future(each.wait()) for each in (watched.is_over, self._session.failed)]
        try:
            await asyncio.wait({running, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (running, *waiting):
                task.cancel()
            await asyncio.gather(running, *waiting, return_exceptions=True)
        if running.cancelled():
            is_over = watched.is_over.is_set()
            return _Ended(
                stop_reason=self._bounds.reached or (StopReason.wall_time if is_over else StopReason.finished)
            )
        try:
            end = running.result()
        except SandboxEnded as error:
            is_time = isinstance(error, SandboxLimitExceeded) and error.limit == "wall_seconds"
            stopped = StopReason.wall_time if is_time else StopReason.limit_exceeded
            return _Ended(stop_reason=stopped, has_lost_world=True)
        return self._concluded(end)

    def _concluded(self, end: ScaffoldEnd) -> _Ended:
        """Of a scaffold that has ended by itself. Raises InfrastructureError: it failed, where the rule says so."""
        if self._bounds.reached is not None:
            return _Ended(stop_reason=self._bounds.reached, end=end)
        if end.status == 0:
            return _Ended(stop_reason=StopReason.finished, end=end)
        if self._settings.failure == "infra_error":
            said = " ".join(line.strip() for line in self._log.tail()[-2:])
            raise InfrastructureError(f"the scaffold ended with exit status {end.status}: {said}")
        return _Ended(stop_reason=StopReason.scaffold_error, end=end)

    async def _verdict(self, ended: _Ended) -> Verdict:
        if self._settings.verdict == "report":
            return self._reported(ended.end)
        if ended.has_lost_world:
            return _NOTHING_LEFT
        assert self._environment is not None
        return await judged(self._environment, ended.stop_reason, self._parts.request.unfinished)

    def _reported(self, end: ScaffoldEnd | None) -> Verdict:
        """What the scaffold says; where it says nothing, what the rule does."""
        fault = "the scaffold left no report" if end is None or end.fault is None else end.fault
        if end is not None and end.report is not None:
            try:
                return verdict_of(end.report)
            except ValueError as error:
                fault = str(error)
        if self._settings.failure == "infra_error":
            raise InfrastructureError(fault)
        return Verdict(resolved=False, details={"submitted": False, "report": fault})

    def _check(self, trajectory: Trajectory, watched: WatchedSession) -> None:
        """Raises UserError: it is not what a user can have wanted."""
        if trajectory.stop_reason is StopReason.infra_error:
            return
        told = f"rollouts.scaffold: trajectory {trajectory.id}: "
        if not trajectory.turns:
            raise UserError(f"{told}{self._why_nothing(watched)}", *self._log.tail())
        if self._parts.collector.is_taught and not is_learnable(trajectory, label=self._parts.request.label):
            raise UserError(
                f"{told}nothing of it can be learned: the student's tokens were not kept, and there is no label: let "
                "the student act in this process or through vllm, or choose a method with labels"
            )

    def _why_nothing(self, watched: WatchedSession) -> str:
        if watched.num_requests:
            return (
                f"none of its {watched.num_requests} requests was answered; the last: {watched.last_refusal}"
            )
        return (
            "the scaffold has ended, and asked the model nothing that it could answer: it must ask at OPENAI_BASE_URL "
            "or ANTHROPIC_BASE_URL, which it finds in its environment; the last that it said:"
        )


def _told(failure: InfrastructureError) -> str:
    return f"{type(failure).__name__}: {failure}"
