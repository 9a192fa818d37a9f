"""What a session writes into its journal, and how it comes back from it: the same events happen again, in order.

    asked       a request that is new, or comes again after it failed: what its history adds to those known
    answered    its action, on its way out
    failed      no model could be asked
    repeated    it came again
    label       a label came

Histories are numbered in the order in which they are written: an event names what it goes on from by number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from turnmix.core.answer_form import AnswerForm
from turnmix.core.errors import UserError
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Action
from turnmix.core.usage import Usage, usage_from_json
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.session.graph import Node
from turnmix.gateway.session.journal import FIX, SessionJournal
from turnmix.gateway.session.line import GivenAnswer, Line, SessionTurn
from turnmix.gateway.session.session_parts import SessionParts
from turnmix.gateway.session.turns import SessionTurns
from turnmix.rollout.turn_recorder import Executed
from turnmix.store.records import checked
from turnmix.store.session_records import SESSION_EVENTS


class SessionRecord:
    """Writes the events of one session; into nothing, where it has no journal."""

    def __init__(self, journal: SessionJournal | None, turns: SessionTurns) -> None:
        self._journal = journal
        self.nodes: list[Node[SessionTurn]] = [turns.graph.root]
        """By number."""
        self._numbers: dict[Node[SessionTurn], int] = {turns.graph.root: 0}
        self.tools: dict[str, tuple[ToolSpecification, ...]] = {}
        """By digest: those that are written."""
        self.usage: Mapping[str, Usage] = {}
        """As it was told last."""

    def asked(self, turn: SessionTurn) -> None:
        """Raises RequestError: it is too long to be kept."""
        if self._journal is None:
            return
        added = self._new_nodes(turn.node)
        behind = self._numbers[turn.node if not added else _parent(added[0])]
        offered = turn.offered.hex()
        try:
            self._journal.append(
                "asked",
                number=turn.number,
                behind=behind,
                messages=[node.sent.to_json() for node in added if node.sent is not None],
                offered=offered,
                tools=None if offered in self.tools else [tool.to_json()["function"] for tool in turn.tools],
                form=turn.form.to_json(),
                wishes=turn.wishes.hex(),
            )
        except UserError:
            raise RequestError("too_large", "messages: they are too long to be kept: send fewer") from None
        self.note_asked(turn)

    def note_asked(self, turn: SessionTurn) -> None:
        """It is in the journal."""
        for node in self._new_nodes(turn.node):
            self._note(node)
        self.tools[turn.offered.hex()] = turn.tools

    def answered(
        self,
        turn: SessionTurn,
        answer: GivenAnswer,
        executed: Executed | None,
        usage: Callable[[], Mapping[str, Usage]],
    ) -> None:
        if self._journal is None or executed is None:
            return
        self._journal.append(
            "answered",
            number=turn.number,
            actor=executed.actor,
            action=answer.action.to_json(),
            label=_label(executed),
            is_label_asked=executed.is_label_asked,
            seconds=executed.acted_at - executed.asked_at,
            answer_id=answer.id,
            created=answer.created,
            finish=answer.finish,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            usage={who: used.to_json() for who, used in usage().items()},
        )

    def placed(self, turn: SessionTurn) -> None:
        """Its action has a place among the histories."""
        if turn.answered is not None:
            self._note(turn.answered)

    def failed(self, turn: SessionTurn) -> None:
        if self._journal is not None:
            self._journal.append("failed", number=turn.number)

    def repeated(self, turn: SessionTurn) -> None:
        if self._journal is not None:
            self._journal.append("repeated", number=turn.number)

    def label(self, turn: SessionTurn, label: Action, seconds: float) -> None:
        if self._journal is not None:
            self._journal.append("label", number=turn.number, action=label.to_json(), seconds=seconds)

    def _new_nodes(self, node: Node[SessionTurn]) -> list[Node[SessionTurn]]:
        added: list[Node[SessionTurn]] = []
        for each in node.path():
            if each in self._numbers:
                break
            added.append(each)
        return added[::-1]

    def _note(self, node: Node[SessionTurn]) -> None:
        if self._journal is not None:
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)


def restore(journal: SessionJournal, turns: SessionTurns, record: SessionRecord, parts: SessionParts) -> None:
    """Let all that a journal tells happen again.

    Raises:
        UserError: it is damaged.
    """
    labels = {event["number"]: event for event in _checked_events(journal) if event["kind"] == "label"}
    restoring = _Restoring(turns, record, parts, labels)
    for event in _checked_events(journal):
        try:
            restoring.happen(event)
        except (LookupError, ValueError, TypeError) as error:
            raise journal.damaged(
                event, f"it cannot have happened ({type(error).__name__}: {error})"
            ) from None
    restoring.go_on()


class _Restoring:
    def __init__(
        self,
        turns: SessionTurns,
        record: SessionRecord,
        parts: SessionParts,
        labels: Mapping[int, Mapping[str, Any]],
    ) -> None:
        self._turns = turns
        self._record = record
        self._parts = parts
        self._labels = labels
        self._running: dict[int, Line] = {}
        """By number: turns that were asked for and have no answer yet."""
        self._lacking_label: list[SessionTurn] = []

    def happen(self, event: Mapping[str, Any]) -> None:
        number = event.get("number", 0)
        if event["kind"] == "asked":
            self._asked(event)
        elif event["kind"] == "answered":
            self._answered(self._turns.by_number[number], self._running.pop(number), event)
        elif event["kind"] == "failed":
            self._turns.note_failure(self._turns.by_number[number], self._running.pop(number))
        elif event["kind"] == "repeated":
            self._turns.by_number[number].repeats += 1

    def go_on(self) -> None:
        """Where the journal ends: requests that were in flight come again, and labels are asked for again."""
        for number, line in self._running.items():
            turn = self._turns.by_number[number]
            self._turns.note_failure(turn, line)
            # Noted, for it may be asked for again, and this process be killed too.
            self._record.failed(turn)
        for turn in self._lacking_label:
            if turn.line is not None:
                turn.line.recorder.ask_label_again(turn.index, turn.state)

    def _asked(self, event: Mapping[str, Any]) -> None:
        record = self._record
        messages = [Message.from_json(message) for message in event["messages"]]
        if (tools := record.tools.get(event["offered"])) is None:
            tools = tuple(ToolSpecification(**tool) for tool in event["tools"])
        turn = self._turns.at(
            self._turns.graph.place(messages, record.nodes[event["behind"]]),
            bytes.fromhex(event["wishes"]),
            tools=tools,
            form=AnswerForm.from_json(event["form"]),
        )
        if turn.number != event["number"] or turn.answer is not None or turn.number in self._running:
            raise ValueError(f"it is turn {turn.number}, not {event['number']}")
        record.note_asked(turn)
        self._turns.lines.actor(turn, turn.state)
        self._running[turn.number] = self._turns.take(turn)
        self._turns.lines.claim_label(turn)

    def _answered(self, turn: SessionTurn, line: Line, event: Mapping[str, Any]) -> None:
        action, actor = Action.from_json(event["action"]), event["actor"]
        label = action if event["label"] == "executed" else None
        if isinstance(event["label"], dict):
            label = Action.from_json(event["label"])
        came = self._labels.get(turn.number)
        if event["is_label_asked"] and came is not None:
            label = Action.from_json(came["action"])
        now = self._parts.clock()
        executed = Executed(
            actor=actor,
            action=action,
            label=label,
            asked_at=now - event["seconds"],
            acted_at=now,
            is_label_asked=event["is_label_asked"],
            label_seconds=None if came is None else came["seconds"],
        )
        line.recorder.resume(executed)
        if actor == "student":
            line.student.note_past(action)
        answer = GivenAnswer(
            id=event["answer_id"],
            created=event["created"],
            action=action,
            sent=self._turns.ids.outgoing(action.message, turn=turn.number),
            finish=event["finish"],
            prompt_tokens=event["prompt_tokens"],
            completion_tokens=event["completion_tokens"],
        )
        self._turns.note_answer(turn, line, answer)
        if event["is_label_asked"] and label is None:
            self._lacking_label.append(turn)
        self._record.placed(turn)
        self._record.usage = usage_from_json(event["usage"])


def _checked_events(journal: SessionJournal) -> Any:
    for event in journal.events():
        form = SESSION_EVENTS.get(str(event.get("kind")))
        if form is None:
            raise journal.damaged(event, f"{event.get('kind')!r:.80} is no kind of event")
        where = f"{journal.path}, event {event['id']}"
        checked(event, form, where=where, fix=FIX)
        yield event


def _label(executed: Executed) -> Any:
    if executed.label is None:
        return None
    return "executed" if executed.label is executed.action else executed.label.to_json()


def _parent(node: Node[SessionTurn]) -> Node[SessionTurn]:
    assert node.parent is not None
    return node.parent
