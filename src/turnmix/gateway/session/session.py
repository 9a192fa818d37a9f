"""One session of a scaffold: requests go in, answers come out, and at the end one trajectory.

    session = Session(plan, parts)
    answer = await session.answer(request)     # as often as the scaffold asks, also side by side
    …
    trajectory = await session.end(StopReason.finished, verdict, label_seconds=600)

A request whose history goes on from the last answer of a line of turns is the line's next turn, with the same turn
recorder as a rollout has; any other begins a line of its own. The same request again gets the same answer. Whoever
asks and goes away takes nothing with them: a turn is the session's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.trajectory import Action, StopReason, Trajectory
from turnmix.core.usage import Usage
from turnmix.core.verdict import Verdict
from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError
from turnmix.gateway.session.answers import Answers
from turnmix.gateway.session.graph import Node
from turnmix.gateway.session.ids import CallIds
from turnmix.gateway.session.journal import SessionJournal
from turnmix.gateway.session.line import Line, SessionTurn
from turnmix.gateway.session.lines import Lines
from turnmix.gateway.session.openings import joined
from turnmix.gateway.session.restoring import SessionRecord, restore
from turnmix.gateway.session.session_parts import SessionParts
from turnmix.gateway.session.turns import SessionTurns
from turnmix.rollout.plan import RolloutPlan

__all__ = ["Session", "SessionParts"]

_CLOSED = "this session is closed: open another one"
_UNAVAILABLE = "no model could be asked for this answer: send the same request again"
_OVER = "this session has failed and gives no more answers: finish it"


class Session:
    """One trajectory in the making."""

    def __init__(
        self, plan: RolloutPlan, parts: SessionParts, *, journal: SessionJournal | None = None
    ) -> None:
        """Begins the student's and the teacher's sessions: those of a cohort's members all, before one is asked.

        `journal`: what happens is written there, and what happened before, in another process, is so again: the same
        turns, and the draws where they were. Labels that were in flight are asked for again, in the running event loop.

        Raises:
            UserError: the journal is damaged, or of another plan.
        """
        self._plan = plan
        self._parts = parts
        ids = CallIds(plan.trajectory_id)
        self._answers = Answers(parts, ids)
        self._turns = SessionTurns(self._begin_lines, ids)
        self._record = SessionRecord(journal, self._turns)
        self._unanswered: InfrastructureError | None = None
        """What the last request failed with."""
        self._failed_label: InfrastructureError | None = None
        self._ending: asyncio.Task[Trajectory] | None = None
        self.failure: BaseException | None = None
        """A mistake of the user's, or a bug, which ends a whole collection: nothing more is answered."""
        self.failed = asyncio.Event()
        """Set where nothing more is answered: by such a failure, or by that of a label."""
        self._past_usage: Mapping[str, Usage] = {}
        """What was paid before, as far as the sessions of this process do not know."""
        if journal is not None:
            journal.check(plan)
            restore(journal, self._turns, self._record, parts)
            known, paid = self._turns.lines.usage, self._record.usage
            self._past_usage = {who: used - known.get(who, Usage()) for who, used in paid.items()}
        self._turns.lines.join_cohort()

    @property
    def is_ending(self) -> bool:
        """Was its end asked for?"""
        return self._ending is not None

    @property
    def num_turns(self) -> int:
        return len(self._turns.answered)

    @property
    def num_lines(self) -> int:
        return len(self._turns.lines)

    @property
    def num_repeats(self) -> int:
        return sum(turn.repeats for turn in self._turns.by_number)

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """The answer to a request.

        Raises:
            RequestError: the request is at fault (`invalid_request`, `not_found`), the session is closed (`conflict`),
                no model could be asked (`unavailable`), or the user's settings or a bug are at fault (`internal`;
                `failure` holds what is to be raised).
        """
        self._refuse_if_over()
        self._answers.refuse(request)
        turn = self._asked(request)
        if (task := turn.task) is not None:
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise RequestError("conflict", _CLOSED) from None
                raise
        assert turn.answer is not None
        return self._answers.written(turn.answer, request)

    async def end(
        self,
        stop_reason: StopReason,
        verdict: Callable[[], Awaitable[Verdict | None]],
        *,
        label_seconds: float,
        attempt: int = 1,
        error: str | None = None,
    ) -> Trajectory:
        """Close the session; what was asked and answered is one trajectory. Called again, it returns the same one.

        Requests in flight get no turn: nobody acts on their answers. The student is dismissed, then `verdict` is asked,
        unless something failed; then labels are waited for, at most `label_seconds`. `error`: what failed, where the
        stop reason is `infra_error`.

        Raises:
            UserError, or a bug: what `failure` holds, or a label failed with.
        """
        if self._ending is None:
            ending = self._end(stop_reason, verdict, label_seconds, attempt, error)
            self._ending = asyncio.create_task(ending)
        return await asyncio.shield(self._ending)

    async def close(self) -> None:
        """Give up what is in flight, and close all that it holds. Safe to call twice."""
        await self._give_up_requests()
        await self._turns.lines.close()

    def _asked(self, request: ModelRequest) -> SessionTurn:
        """The turn that answers a request, begun where it is new. There is no await in it: requests that come at the
        same time are numbered in their order."""
        turn = self._turns.of(request)
        if turn.is_begun:
            turn.repeats += 1
            self._record.repeated(turn)
            return turn
        try:
            self._turns.check(turn, self._parts.bounds)
            self._record.asked(turn)
        except BaseException:
            self._turns.forget(turn)
            raise
        line = self._turns.take(turn)
        turn.task = asyncio.create_task(self._take(turn, line))
        turn.task.add_done_callback(_retrieved)
        return turn

    async def _take(self, turn: SessionTurn, line: Line) -> None:
        """Take a turn; then its answer is there. Raises RequestError."""
        state = turn.state
        asyncio.get_running_loop().call_soon(self._answers.count_ahead, turn, state)
        try:
            await self._turns.lines.make_room(line)
            action = await line.recorder.act(state)
            answer = await self._answers.given(turn, state, action)
            self._record.answered(turn, answer, line.recorder.executed, self._usage)
        except BaseException as error:
            self._turns.note_failure(turn, line)
            if not isinstance(error, Exception):
                raise
            self._note_failure(error)
            self._record.failed(turn)
            raise self._told() from error
        self._turns.note_answer(turn, line, answer)
        self._record.placed(turn)
        self._unanswered = None

    def _refuse_if_over(self) -> None:
        if self._ending is not None:
            raise RequestError("conflict", _CLOSED)
        if self.failed.is_set():
            raise self._told()

    def _told(self) -> RequestError:
        """What the scaffold is told of a failure: never whose it was."""
        if self.failure is not None:
            return RequestError("internal", _OVER)
        return RequestError("unavailable", _OVER if self.failed.is_set() else _UNAVAILABLE)

    def _note_failure(self, error: BaseException) -> None:
        if not isinstance(error, InfrastructureError):
            self.failure = self.failure or error
            self.failed.set()
        elif not self.failed.is_set():
            self._unanswered = error

    def _note_label(self, turn: SessionTurn, label: Action, seconds: float) -> None:
        try:
            self._record.label(turn, label, seconds)
        except (OSError, UserError) as error:
            self._note_failure(error)

    def _note_failed_label(self, error: BaseException) -> None:
        if isinstance(error, InfrastructureError):
            self._failed_label = self._failed_label or error
            self.failed.set()
        else:
            self._note_failure(error)

    async def _give_up_requests(self) -> None:
        tasks = [turn.task for turn in self._turns.by_number if turn.task is not None and turn.answer is None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(
        self,
        stop_reason: StopReason,
        verdict: Callable[[], Awaitable[Verdict | None]],
        label_seconds: float,
        attempt: int,
        error: str | None,
    ) -> Trajectory:
        found: Verdict | None = None
        try:
            await self._give_up_requests()
            turns = self._turns.answered
            self._turns.lines.observe_ends(turns)
            await self._turns.lines.dismiss_students()
            self._raise_failure()
            if stop_reason is not StopReason.infra_error:
                found = await verdict()
                await self._attach_labels(label_seconds)
        except InfrastructureError as failure:
            stop_reason, found = StopReason.infra_error, None
            error = f"{type(failure).__name__}: {failure}"
        finally:
            await self._turns.lines.close()
        first = turns[0] if turns else None
        return Trajectory(
            id=self._plan.trajectory_id,
            task_id=self._plan.task.id,
            iteration=self._plan.iteration,
            seed=self._plan.seed,
            beta=self._plan.beta,
            tools=() if first is None else first.tools,
            prompt=() if first is None else first.node.messages,
            turns=joined(turns, copied=self._turns.graph.copied),
            stop_reason=stop_reason,
            verdict=found,
            error=error,
            attempts=attempt,
            usage=self._usage(),
        )

    def _usage(self) -> dict[str, Usage]:
        known = self._turns.lines.usage
        whoever = {**known, **self._past_usage}
        return {who: known.get(who, Usage()) + self._past_usage.get(who, Usage()) for who in whoever}

    def _begin_lines(self, root: Node[SessionTurn]) -> Lines:
        return Lines(
            self._plan,
            self._parts,
            root=root,
            on_label=self._note_label,
            on_failed_label=self._note_failed_label,
        )

    def _raise_failure(self) -> None:
        for failure in (self.failure, self._failed_label, self._unanswered):
            if failure is not None:
                raise failure

    async def _attach_labels(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._turns.lines.attach_labels(), seconds)
        except asyncio.TimeoutError:
            told = f"labels were still missing {seconds:g} s after the session's end: see label_seconds"
            raise InfrastructureError(told) from None


def _retrieved(task: asyncio.Task[None]) -> None:
    """Nobody may wait any more for what it raised."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
