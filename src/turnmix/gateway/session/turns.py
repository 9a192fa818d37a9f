"""The turns of one session: what a request asks for, which line takes it, and what came of it.

There is no await here. A request is numbered as it comes; the same events in the same order make the same turns, live
or read back from a journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turnmix.core.answer_form import AnswerForm
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.recent_cache import RecentCache
from turnmix.gateway.model_request import ModelRequest, RequestError
from turnmix.gateway.session.bounds import SessionBounds
from turnmix.gateway.session.graph import Graph, Node
from turnmix.gateway.session.ids import CallIds
from turnmix.gateway.session.line import GivenAnswer, Line, SessionTurn
from turnmix.gateway.session.lines import Lines
from turnmix.gateway.session.normal_form import tools_digest, wishes_digest

_MOST_KEPT = 64
"""Lists of tools whose digests are kept: a session offers few different ones."""


class SessionTurns:
    """Those of one session."""

    def __init__(self, lines: Callable[[Node[SessionTurn]], Lines], ids: CallIds) -> None:
        """`lines`: those that begin at a root."""
        self.ids = ids
        self.graph: Graph[SessionTurn] = Graph(ids)
        self.lines = lines(self.graph.root)
        self.by_number: list[SessionTurn] = []
        """All that were asked for."""
        self._by_request: dict[tuple[Node[SessionTurn], bytes, bytes], SessionTurn] = {}
        self._by_answer: dict[str, SessionTurn] = {}
        self._tools: dict[bytes, tuple[ToolSpecification, ...]] = {}
        self._digests = RecentCache[tuple[int, ...], tuple[tuple[ToolSpecification, ...], bytes]](
            most=_MOST_KEPT
        )
        """Of tools, by which objects they are; these are held, so that no others get their identity."""

    @property
    def answered(self) -> list[SessionTurn]:
        """Those that have an answer, in the order in which they were asked for."""
        return [turn for turn in self.by_number if turn.answer is not None]

    def of(self, request: ModelRequest) -> SessionTurn:
        """The turn that answers a request. Raises RequestError: there is nothing that it could go on from."""
        node = self.graph.place(*self._history(request))
        return self.at(node, wishes_digest(request), tools=request.tools, form=request.form)

    def at(
        self,
        node: Node[SessionTurn],
        wishes: bytes,
        *,
        tools: tuple[ToolSpecification, ...],
        form: AnswerForm,
    ) -> SessionTurn:
        """The turn of a request whose history is that of `node`."""
        offered = self._digest(tools)
        turn = self._by_request.get((node, offered, wishes))
        if turn is None:
            turn = self._by_request[node, offered, wishes] = SessionTurn(
                number=len(self.by_number),
                node=node,
                tools=self._tools.setdefault(offered, tools),
                form=form,
                place=node.place + offered,
                offered=offered,
                wishes=wishes,
            )
            self.by_number.append(turn)
        return turn

    def _digest(self, tools: tuple[ToolSpecification, ...]) -> bytes:
        """Of the tools on offer, which are the same objects in most requests."""
        key = tuple(map(id, tools))
        found = self._digests.get(key)
        if found is None:
            found = (tools, tools_digest(tools))
            self._digests.put(key, found, size=1)
        return found[1]

    def forget(self, turn: SessionTurn) -> None:
        """It could not be noted, and was not begun."""
        if self.by_number[-1] is turn:
            del self.by_number[-1]
            del self._by_request[turn.node, turn.offered, turn.wishes]

    def check(self, turn: SessionTurn, bounds: SessionBounds | None) -> None:
        """May it be taken? Raises RequestError."""
        if bounds is not None:
            known = next((node for node in turn.node.path() if node.answer is not None), self.graph.root)
            answer = None if known.answer is None else known.answer.answer
            bounds.check(turn.number, answer, turn.node.messages[known.depth :])

    def take(self, turn: SessionTurn) -> Line:
        """The line that is to take a turn."""
        return self.lines.taking(turn, begun_by=turn.place + turn.wishes)

    def note_answer(self, turn: SessionTurn, line: Line, answer: GivenAnswer) -> None:
        """`turn` was taken in `line`, and answered."""
        turn.answer, turn.line, turn.index = answer, line, len(line.taken)
        turn.task = None  # whoever waits holds it; with it goes all that its coroutine held
        line.taken.append(turn)
        self._by_answer[answer.id] = turn
        turn.answered = self.graph.answered(turn.node, answer.action.message, answer.sent, turn)
        self.lines.rest(line, turn.answered)

    def note_failure(self, turn: SessionTurn, line: Line) -> None:
        """`turn` was not taken: it may be asked for again."""
        turn.task, turn.is_begun, turn.repeats = None, False, 0
        self.lines.rest(line, turn.node)

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


def _num_leading(messages: Sequence[Message]) -> int:
    """How many system messages they begin with."""
    return next((index for index, each in enumerate(messages) if each.role != "system"), len(messages))
