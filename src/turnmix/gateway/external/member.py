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
from turnmix.environments.environment import Environment, HasSandbox
from turnmix.gateway.external.finishing import Finish, read_finish
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.scaffolds.learnable import is_learnable
from turnmix.gateway.scaffolds.run_operation import run_operation
from turnmix.gateway.scaffolds.work import Place
from turnmix.gateway.session.bounds import SessionBounds
from turnmix.gateway.session.journal import SessionJournal
from turnmix.gateway.session.session import Session, SessionParts
from turnmix.policies.policy import Inspectable
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.turn_recorder import close_quietly

if TYPE_CHECKING:
    from turnmix.gateway.external.rollouts import ExternalRollouts

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
        self._session: Session | None = None
        self._journal: SessionJournal | None = None
        self._bounds = self._new_bounds()
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

    async def take(self, *, mixture: Any, seed: int | None, url: str) -> dict[str, Any]:
        """Open a session; what its scaffold is told. `mixture`: as it was asked for. Raises RequestError: none can be
        opened now."""
        parts, book = self._rollouts.parts, self._rollouts.book
        chosen = self._rollouts.mixture(mixture)
        plan = self._plan_of(chosen, seed)
        self._bounds = self._new_bounds()
        session_id, number = self._rollouts.next_session(plan.trajectory_id)
        if parts.environment is not None:
            self._environment = parts.environment(plan.task)
        opened = book.open(
            plan,
            self._session_parts(plan, chosen),
            id=session_id,
            finish=self.finish,
            journals=parts.journals,
            about={"number": number, "attempt": self._attempt, "seed": seed, "mixture": mixture},
        )
        self._begin(session_id, opened.session)
        opened = replace(opened, url=url)
        if self._environment is not None:
            try:
                await self._environment.reset()
            except InfrastructureError as error:
                await self.give_up(f"{type(error).__name__}: {error}")
                raise RequestError("unavailable", f"the task's sandbox did not start: {error}") from None
            if isinstance(self._environment, HasSandbox):
                sandbox, directory = self._environment.sandbox, self._environment.working_directory
                sandbox.resume_lifetime()
                book.held(session_id).run = run_operation(Place(sandbox=sandbox, working_directory=directory))
        return {
            "id": opened.id,
            "key": opened.key,
            "base_url": opened.base_url,
            "anthropic_base_url": opened.anthropic_base_url,
            "session_url": opened.session_url,
            "task": {"id": plan.task.id, "prompt": plan.task.problem_statement, **plan.task.fields},
            "run_url": f"{opened.session_url}/run" if book.held(session_id).run is not None else None,
            "seed": plan.seed,
            "iteration": plan.iteration,
        }

    async def finish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """End the session as its scaffold says; again: the same. Raises RequestError: it says nothing of use."""
        if self._finishing is None:
            wanted = read_finish(body, is_judged=self._environment is not None)
            assert self._session is not None
            if wanted.error is None and not self._session.num_turns:
                raise RequestError("conflict", NOTHING_ASKED)
            self._finishing = asyncio.create_task(self._finish(wanted, self._session))
        return dict(await asyncio.shield(self._finishing))

    async def give_up(self, error: str) -> None:
        """What it fails with is nobody's doing. Waits for nobody."""
        if self._finishing is None and self._session is not None:
            wanted = Finish(stop_reason=StopReason.infra_error, error=error)
            self._finishing = asyncio.create_task(self._finish(wanted, self._session))
            self._finishing.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _finish(self, wanted: Finish, session: Session) -> dict[str, Any]:
        rollouts, journal, session_id = self._rollouts, self._journal, self.session_id
        assert session_id is not None
        is_finished = wanted.stop_reason is StopReason.finished
        trajectory = await session.end(
            self._bounds.reached or wanted.stop_reason if is_finished else wanted.stop_reason,
            self._judging(wanted),
            label_seconds=rollouts.parts.label_seconds,
            attempt=self._attempt,
            error=wanted.error,
        )
        is_lost = trajectory.stop_reason is StopReason.infra_error
        assert self._ended is not None
        if self._ended.done():
            raise RequestError("unavailable", "the gateway is ending")
        is_useless = not is_lost and not is_learnable(trajectory, label=rollouts.parts.label)
        if journal is not None and (is_lost or is_useless):
            journal.mark_closed()
        if is_useless:
            self._ended.set_result(None)
            raise RequestError("conflict", NOTHING_TRAINABLE)
        kept = rollouts.kept(trajectory.id)
        self._ended.set_result(trajectory)
        if is_lost:
            kept.add_done_callback(lambda kept: kept.exception())
        else:
            await kept
        return finish_answer(session_id, trajectory, plans_left=rollouts.num_left)

    def restore(self, journal: SessionJournal) -> None:
        """Go on with a session of an earlier process. Raises UserError: its journal is damaged."""
        about, session_id = journal.about, journal.path.stem
        chosen = self._rollouts.mixture(about.get("mixture"))
        plan = self._plan_of(chosen, about.get("seed"))
        session = self._rollouts.book.open_again(
            plan, self._session_parts(plan, chosen), journal, id=session_id, finish=self.finish
        )
        self._begin(session_id, session)

    def _new_bounds(self) -> SessionBounds:
        parts = self._rollouts.parts
        return SessionBounds(max_turns=parts.max_turns, max_tokens=parts.max_tokens)

    def _begin(self, session_id: str, session: Session) -> None:
        self.session_id, self._session, self._finishing = session_id, session, None
        self._journal = self._rollouts.book.held(session_id).journal

    def _plan_of(self, mixture: Mixture, seed: int | None) -> RolloutPlan:
        own = self.plan.seed if seed is None else seed
        return replace(self.plan, seed=own, beta=mixture.beta(self.plan.iteration))

    def _session_parts(self, plan: RolloutPlan, mixture: Mixture) -> SessionParts:
        parts = self._rollouts.parts
        return SessionParts(
            student=parts.student,
            teacher=parts.teacher,
            actors=mixture.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))),
            label=parts.label,
            count=parts.count,
            inspectable=self._environment if isinstance(self._environment, Inspectable) else None,
            gives_logprobs=parts.gives_logprobs,
            bounds=self._bounds,
        )

    def _judging(self, wanted: Finish) -> Callable[[], Awaitable[Verdict | None]]:
        async def judge() -> Verdict | None:
            if self._environment is None:
                return wanted.verdict
            return await self._environment.verify(self._bounds.reached or wanted.stop_reason)

        return judge


def finish_answer(session_id: str, trajectory: Trajectory, *, plans_left: int) -> dict[str, Any]:
    """What whoever finished a session is told."""
    verdict = trajectory.verdict
    return {
        "id": session_id,
        "task": trajectory.task_id,
        "stop_reason": trajectory.stop_reason.value,
        "error": trajectory.error,
        "resolved": None if verdict is None else verdict.resolved,
        "reward": None if verdict is None else verdict.reward,
        "turns": len(trajectory.turns),
        "plans_left": plans_left,
    }
