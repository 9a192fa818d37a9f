"""Messages as a template takes them, made once for each message of a conversation that grows.

In: messages. Out: for each the mapping that a template is shown, the same object whenever the message is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnmix.core.message import Message
from turnmix.core.recent_cache import RecentCache
from turnmix.rendering.control_text import ControlTexts, MarkedMessages, free_marks, marks_in

_MOST_CHARACTERS = 1 << 23
_PER_MESSAGE = 200
"""Characters' worth of what a short message takes."""
_PLAIN = (str, int, float, bool, type(None))


class NotPlainError(Exception):
    """Of a message that holds more than JSON does."""


@dataclass(slots=True)
class _Kept:
    message: Message
    """Held, so that no other one gets its identity."""
    shown: dict[str, Any]
    seen: dict[str, Any]
    is_marked: bool
    marks: frozenset[str] | None = None
    """Its characters that might be marks; None: nobody has asked yet."""
    marked: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


class MessageMemory:
    """Threads may share it."""

    def __init__(
        self,
        *,
        show: Callable[[Message, str | None], dict[str, Any]],
        see: Callable[[dict[str, Any]], dict[str, Any]],
        control: ControlTexts,
    ) -> None:
        """`show` makes a message's mapping, given the name of the tool that it answers for, and `see` what a template
        sees of such a mapping."""
        self._show = show
        self._see = see
        self._control = control
        self._kept = RecentCache[tuple[int, str | None], _Kept](most=_MOST_CHARACTERS)

    def shown(self, messages: Sequence[Message], names: Sequence[str | None]) -> MarkedMessages:
        """What a template sees of `messages`, with marks around what spells control tokens; `names`: see `show`.

        Raises:
            NotPlainError: one of them is to be shown anew each time.
        """
        get = self._kept.get
        kept = [
            get((id(message), name)) or self._new(message, name)
            for message, name in zip(messages, names, strict=True)
        ]
        if not any([each.is_marked for each in kept]):
            return MarkedMessages(messages=[each.seen for each in kept], marks=None)
        marks = free_marks(self._marks_in(each) for each in kept)
        seen = [self._marked(each, marks) if each.is_marked else each.seen for each in kept]
        return MarkedMessages(messages=seen, marks=marks)

    def _new(self, message: Message, name: str | None) -> _Kept:
        shown = self._show(message, name)
        if not is_plain(shown):
            raise NotPlainError
        kept = _Kept(
            message=message,
            shown=shown,
            seen=self._see(shown),
            is_marked=self._control.stand_in(shown),
        )
        self._kept.put((id(message), name), kept, size=_size(message))
        return kept

    def _marks_in(self, kept: _Kept) -> frozenset[str]:
        if kept.marks is None:
            kept.marks = marks_in(kept.shown)
        return kept.marks

    def _marked(self, kept: _Kept, marks: tuple[str, str]) -> dict[str, Any]:
        found = kept.marked.get(marks)
        if found is None:
            found = kept.marked.setdefault(marks, self._see(self._control.marked(kept.shown, marks)))
        return found


def _size(message: Message) -> int:
    return _PER_MESSAGE + len(message.content) + sum(len(str(call.arguments)) for call in message.tool_calls)


def is_plain(value: Any) -> bool:
    """Does it hold what JSON holds, and nothing else?"""
    if type(value) is dict:
        return all(type(name) is str and is_plain(item) for name, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in _PLAIN
