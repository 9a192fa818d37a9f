"""A history as scaffolds send it, made canonical. In: texts, calls and results, in order. Out: messages.

A call whose arguments are no JSON object, or one that no model may use, is kept as the text that a malformed answer
has in a trajectory, and its result as a user's message: nobody could write it as a call again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from turnmix.core.json_text import json_text
from turnmix.core.message import Message, Role, ToolCall
from turnmix.rendering.arguments import UnreadableJsonError, read_whole_json, require_usable


class SentCall(NamedTuple):
    """A call as a scaffold sends it back."""

    id: str
    name: str
    arguments: str | Mapping[str, Any] | None


class History:
    """Messages, one after the other."""

    def __init__(self, before: History | None = None) -> None:
        """It goes on from what was said `before`."""
        self.messages: list[Message] = [] if before is None else [*before.messages]
        self._texts: set[str] = set() if before is None else {*before._texts}
        """Ids of calls that are kept as text."""

    def say(self, role: Role, text: str) -> None:
        self.messages.append(Message(role=role, content=text))

    def answer(self, text: str, sent: Iterable[SentCall]) -> None:
        """A turn of a model's."""
        self.messages.append(self._extended(Message(role="assistant", content=text), sent))

    def extend_answer(self, number: int, sent: Iterable[SentCall]) -> None:
        """Further calls of the turn that is message `number`."""
        self.messages[number] = self._extended(self.messages[number], sent)

    def result(self, call: str, text: str) -> None:
        """What a call gave."""
        if call in self._texts:
            self.say("user", text)
        else:
            self.messages.append(Message(role="tool", content=text, tool_call_id=call))

    def _extended(self, message: Message, sent: Iterable[SentCall]) -> Message:
        texts = [message.content] if message.content else []
        calls = list(message.tool_calls)
        for call in sent:
            arguments = _arguments(call.arguments) if call.name else None
            if arguments is None:
                self._texts.add(call.id)
                written = {"name": call.name, "arguments": call.arguments}
                texts.append(json_text(written, ensure_ascii=False, separators=(",", ":")))
            else:
                self._texts.discard(call.id)
                calls.append(ToolCall(id=call.id, name=call.name, arguments=arguments))
        return Message(role="assistant", content="\n".join(texts), tool_calls=tuple(calls))


def _arguments(sent: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Arguments by name; None: they are no object that can be used."""
    if sent is None or (isinstance(sent, str) and not sent.strip()):
        return {}
    try:
        if isinstance(sent, str):
            read = read_whole_json(sent)
            return read if isinstance(read, dict) else None
        require_usable(sent)
    except UnreadableJsonError:
        return None
    return sent
