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
from collections.abc import Awaitable, Callable, Sequence

from turnmix.core.errors import InfrastructureError
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.core.verdict import Verdict
from turnmix.gateway.answers import Answers
from turnmix.gateway.graph import Graph, Node
from turnmix.gateway.ids import CallIds
from turnmix.gateway.line import Line, SessionTurn
from turnmix.gateway.lines import Lines
from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError
from turnmix.gateway.normal_form import tools_digest, wishes_digest
from turnmix.gateway.openings import joined
from turnmix.gateway.session_parts import SessionParts
from turnmix.rollout.plan import RolloutPlan

__all__ = ["Session", "SessionParts"]

_Key = tuple[Node[SessionTurn], bytes, bytes]
_CLOSED = "this session is closed: open another one"
_UNAVAILABLE = "no model could be asked for this answer: send the same request again"
_OVER = "this session has failed and gives no more answers: finish it"


class Session:
    """One trajectory in the making."""

    def __init__(self, plan: RolloutPlan, parts: SessionParts) -> None:
        """Begins the student's and the teacher's sessions: those of a cohort's members all, before one is asked."""
        self._plan = plan
        self._parts = parts
        ids = CallIds(plan.trajectory_id)
        self._graph: Graph[SessionTurn] = Graph(ids)
        self._answers = Answers(parts, ids)
        self._lines = Lines(plan, parts, root=self._graph.root, on_failed_label=self._note_failed_label)
        self._turns: dict[_Key, SessionTurn] = {}
        self._by_answer: dict[str, SessionTurn] = {}
        self._tools: dict[bytes, tuple[ToolSpecification, ...]] = {}
        self._unanswered: InfrastructureError | None = None
        """What the last request failed with."""
        self._failed_label: InfrastructureError | None = None
        self._ending: asyncio.Task[Trajectory] | None = None
        self.failure: BaseException | None = None
        """A mistake of the user's, or a bug, which ends a whole collection: nothing more is answered."""
        self.failed = asyncio.Event()
        """Set where nothing more is answered: by such a failure, or by that of a label."""

    @property
    def num_turns(self) -> int:
        return len(self._by_answer)

    @property
    def num_lines(self) -> int:
        return len(self._lines)

    @property
    def num_repeats(self) -> int:
        return sum(turn.repeats for turn in self._turns.values())

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
        await self._lines.close()

    def _asked(self, request: ModelRequest) -> SessionTurn:
        """The turn that answers a request, begun where it is new. There is no await in it: requests that come at the
        same time are numbered in their order."""
        node = self._graph.place(*self._history(request))
        offered, wishes = tools_digest(request.tools), wishes_digest(request)
        turn = self._turns.get((node, offered, wishes))
        if turn is None:
            turn = self._turns[node, offered, wishes] = SessionTurn(
                number=len(self._turns),
                node=node,
                tools=self._tools.setdefault(offered, request.tools),
                form=request.form,
                place=node.place + offered,
            )
        elif turn.task is not None or turn.answer is not None:
            turn.repeats += 1
            return turn
        line = self._lines.taking(turn, begun_by=turn.place + wishes)
        turn.task = asyncio.create_task(self._take(turn, line))
        turn.task.add_done_callback(_retrieved)
        return turn

    def _history(self, request: ModelRequest) -> tuple[Sequence[Message], Node[SessionTurn] | None]:
        """A request's messages, and what they go on from."""
        if request.previous is None:
            if not request.messages:
                told = "messages: there are none: give one or more"
                raise RequestError("invalid_request", told, parameter="messages")
            return request.messages, None
        before = self._by_answer.get(request.previous)
        if before is None or before.answer is None:
            told = f"previous_response_id: no answer of this session has the id {request.previous!r:.80}"
            raise RequestError("not_found", told, parameter="previous_response_id")
        new = request.messages
        num_leading = _num_leading(new)
        if not num_leading and before.answered is not None:
            return new, before.answered
        # Instructions are those of this request, not those of the one before.
        past = before.node.sent_messages
        if num_leading:
            past = past[_num_leading(past) :]
        return (*new[:num_leading], *past, before.answer.sent, *new[num_leading:]), None

    async def _take(self, turn: SessionTurn, line: Line) -> None:
        """Take a turn; then its answer is there. Raises RequestError."""
        state = turn.state
        try:
            await self._lines.make_room(line)
            action = await line.recorder.act(state)
            answer = await self._answers.given(turn, state, action)
        except Exception as error:
            self._note_failure(error)
            raise self._told() from error
        else:
            turn.answer, turn.line, turn.index = answer, line, line.num_turns
            line.num_turns += 1
            self._by_answer[answer.id] = turn
            self._unanswered = None
            turn.answered = self._graph.answered(turn.node, action.message, answer.sent, turn)
        finally:
            if turn.answer is None:
                turn.task, turn.repeats = None, 0
            self._lines.rest(line, turn.node if turn.answer is None else turn.answered)

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

    def _note_failed_label(self, error: BaseException) -> None:
        if isinstance(error, InfrastructureError):
            self._failed_label = self._failed_label or error
            self.failed.set()
        else:
            self._note_failure(error)

    async def _give_up_requests(self) -> None:
        tasks = [turn.task for turn in self._turns.values() if turn.task is not None and turn.answer is None]
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
            turns = [turn for turn in self._turns.values() if turn.answer is not None]
            self._lines.observe_ends(turns)
            await self._lines.dismiss_students()
            self._raise_failure()
            if stop_reason is not StopReason.infra_error:
                found = await verdict()
                await self._attach_labels(label_seconds)
        except InfrastructureError as failure:
            stop_reason, found = StopReason.infra_error, None
            error = f"{type(failure).__name__}: {failure}"
        finally:
            await self._lines.close()
        first = turns[0] if turns else None
        return Trajectory(
            id=self._plan.trajectory_id,
            task_id=self._plan.task.id,
            iteration=self._plan.iteration,
            seed=self._plan.seed,
            beta=self._plan.beta,
            tools=() if first is None else first.tools,
            prompt=() if first is None else first.node.messages,
            turns=joined(turns, copied=self._graph.copied),
            stop_reason=stop_reason,
            verdict=found,
            error=error,
            attempts=attempt,
            usage=self._lines.usage,
        )

    def _raise_failure(self) -> None:
        for failure in (self.failure, self._failed_label, self._unanswered):
            if failure is not None:
                raise failure

    async def _attach_labels(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._lines.attach_labels(), seconds)
        except asyncio.TimeoutError:
            told = f"labels were still missing {seconds:g} s after the session's end: see label_seconds"
            raise InfrastructureError(told) from None


def _num_leading(messages: Sequence[Message]) -> int:
    """How many system messages they begin with."""
    return next((index for index, each in enumerate(messages) if each.role != "system"), len(messages))


def _retrieved(task: asyncio.Task[None]) -> None:
    """Nobody may wait any more for what it raised."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
