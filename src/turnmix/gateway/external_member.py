"""One plan that a scaffold takes which starts itself: its session, and its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from turnmix.core.errors import InfrastructureError
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Environment
from turnmix.gateway.finishing import Finish, read_finish
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.session_parts import SessionParts
from turnmix.gateway.sessions import OpenedSession
from turnmix.policies.policy import Inspectable
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.turn_recorder import close_quietly

if TYPE_CHECKING:
    from turnmix.gateway.external import ExternalRollouts

NOTHING_ASKED = (
    "nothing was asked through this session, so there is nothing to learn: have the scaffold ask its base URL "
    "(OPENAI_BASE_URL, or ANTHROPIC_BASE_URL) or send its key, and finish then"
)
NOTHING_TRAINABLE = (
    "nothing of this session can be trained: it holds no label, and no token that the student sampled; its task is "
    "free for another session"
)


class ExternalMember:
    """Waits to be taken, then to be finished."""

    def __init__(self, plan: RolloutPlan, *, rollouts: ExternalRollouts) -> None:
        # A cohort would wait for scaffolds that may never come.
        self.plan = replace(plan, cohort="")
        self.session_id: str | None = None
        self._rollouts = rollouts
        self._attempt = 1
        self._opened: OpenedSession | None = None
        self._environment: Environment | None = None
        self._finishing: asyncio.Task[dict[str, Any]] | None = None
        self._ended: asyncio.Future[Trajectory | None] | None = None

    def open(self) -> None:
        """Nothing: its policy sessions begin when a scaffold does."""

    async def run(self, attempt: int) -> Trajectory:
        self._attempt = attempt
        while True:
            self._ended = asyncio.get_running_loop().create_future()
            self._rollouts.offer(self)
            try:
                trajectory = await self._ended
            finally:
                self._rollouts.withdraw(self)
                await self.close()
            if trajectory is not None:
                return trajectory

    async def close(self) -> None:
        if (session_id := self.session_id) is not None:
            self.session_id = None
            await self._rollouts.book.end(session_id)
        if (environment := self._environment) is not None:
            self._environment = None
            await close_quietly(environment)

    async def take(self, *, mixture: Mixture, seed: int | None, url: str) -> dict[str, Any]:
        """Open a session; what its scaffold is told. Raises RequestError: none can be opened now."""
        parts, book = self._rollouts.parts, self._rollouts.book
        plan = replace(
            self.plan,
            seed=self.plan.seed if seed is None else seed,
            beta=mixture.beta(self.plan.iteration),
        )
        session_id = self._rollouts.session_id(plan.trajectory_id)
        if parts.environment is not None:
            self._environment = parts.environment(plan.task)
        seen = self._environment if isinstance(self._environment, Inspectable) else None
        opened = book.open(
            plan,
            SessionParts(
                student=parts.student,
                teacher=parts.teacher,
                actors=mixture.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))),
                label=parts.label,
                count=parts.count,
                inspectable=seen,
                gives_logprobs=parts.gives_logprobs,
            ),
            id=session_id,
            finish=self.finish,
        )
        self.session_id, self._opened, self._finishing = session_id, replace(opened, url=url), None
        if self._environment is not None:
            try:
                await self._environment.reset()
            except InfrastructureError as error:
                await self.give_up(f"{type(error).__name__}: {error}")
                raise RequestError("unavailable", f"the task's sandbox did not start: {error}") from None
        opened = self._opened
        return {
            "id": opened.id,
            "key": opened.key,
            "base_url": opened.base_url,
            "anthropic_base_url": opened.anthropic_base_url,
            "session_url": opened.session_url,
            "task": {"id": plan.task.id, "prompt": plan.task.problem_statement, **plan.task.fields},
            "seed": plan.seed,
            "iteration": plan.iteration,
        }

    async def finish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """End the session as its scaffold says; again: the same. Raises RequestError: it says nothing of use."""
        if self._finishing is None:
            wanted = read_finish(body, is_judged=self._environment is not None)
            assert self._opened is not None
            if wanted.error is None and not self._opened.session.num_turns:
                raise RequestError("conflict", NOTHING_ASKED)
            self._finishing = asyncio.create_task(self._finish(wanted, self._opened))
        return dict(await asyncio.shield(self._finishing))

    async def give_up(self, error: str) -> None:
        """What it fails with is nobody's doing. Waits for nobody."""
        if self._finishing is None and self._opened is not None:
            wanted = Finish(stop_reason=StopReason.infra_error, error=error)
            self._finishing = asyncio.create_task(self._finish(wanted, self._opened))
            self._finishing.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _finish(self, wanted: Finish, opened: OpenedSession) -> dict[str, Any]:
        rollouts = self._rollouts
        trajectory: Trajectory = await opened.session.end(
            wanted.stop_reason,
            self._judging(wanted),
            label_seconds=rollouts.parts.label_seconds,
            attempt=self._attempt,
            error=wanted.error,
        )
        is_lost = trajectory.stop_reason is StopReason.infra_error
        assert self._ended is not None
        if self._ended.done():
            raise RequestError("unavailable", "the gateway is ending")
        if not (is_lost or _is_trainable(trajectory)):
            self._ended.set_result(None)
            raise RequestError("conflict", NOTHING_TRAINABLE)
        kept = rollouts.kept(trajectory.id)
        self._ended.set_result(trajectory)
        if is_lost:
            kept.add_done_callback(lambda kept: kept.exception())
        else:
            await kept
        verdict = trajectory.verdict
        return {
            "id": opened.id,
            "task": trajectory.task_id,
            "stop_reason": trajectory.stop_reason.value,
            "error": trajectory.error,
            "resolved": None if verdict is None else verdict.resolved,
            "reward": None if verdict is None else verdict.reward,
            "turns": len(trajectory.turns),
            "plans_left": rollouts.num_left,
        }

    def _judging(self, wanted: Finish) -> Callable[[], Awaitable[Verdict | None]]:
        async def judge() -> Verdict | None:
            if self._environment is None:
                return wanted.verdict
            return await self._environment.verify(wanted.stop_reason)

        return judge


def _is_trainable(trajectory: Trajectory) -> bool:
    return any(
        turn.label is not None or (turn.actor == "student" and turn.action.token_ids is not None)
        for turn in trajectory.turns
    )
