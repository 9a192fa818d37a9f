"""Messages as a template takes them, made once for each message of a conversation that grows.

In: messages. Out: for each the mapping that a template is shown, the same object whenever the message is the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnmix.core.message import Message
from turnmix.core.recent_cache import RecentCache
from turnmix.rendering.control_text import ControlTexts, MarkedMessages, free_marks, marks_in

_MOST_CHARACTERS = 1 << 23
_MOST_GOING_ON = 1 << 26
"""Characters of conversations that go on."""
_PER_MESSAGE = 200
"""Characters' worth of what a short message takes."""
NUM_FIRST = 3
"""Messages by which conversations are told apart: in most the third is the first answer."""
_PLAIN = (str, int, float, bool, type(None))
_Key = tuple[int, str | None]
"""Which message, and the name of the tool that it answers for."""


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


@dataclass(frozen=True, slots=True)
class _Shown:
    """The beginning of a conversation."""

    messages: tuple[Message, ...]
    names: tuple[str | None, ...]
    kept: tuple[_Kept, ...]
    size: int


_NOTHING = _Shown((), (), (), 0)


class MessageMemory:
    """Threads may share it."""

    def __init__(
        self,
        *,
        show: Callable[[Message, str | None], dict[str, Any]],
        see: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
        control: ControlTexts,
    ) -> None:
        """`show` makes a message's mapping, given the name of the tool that it answers for, and `see` what a template
        sees of some such mappings."""
        self._show = show
        self._see = see
        self._control = control
        self._kept = RecentCache[_Key, _Kept](most=_MOST_CHARACTERS)
        self._latest = RecentCache[tuple[int, ...], _Shown](most=_MOST_GOING_ON)
        """By the first messages of a conversation: a system prompt may begin many."""

    def shown(self, messages: Sequence[Message], names: Sequence[str | None]) -> MarkedMessages:
        """What a template sees of `messages`, with marks around what spells control tokens; `names`: see `show`.

        Raises:
            NotPlainError: one of them is to be shown anew each time.
        """
        kept = self._all_kept(messages, names)
        if not any([each.is_marked for each in kept]):
            return MarkedMessages(messages=[each.seen for each in kept], marks=None)
        marks = free_marks(self._marks_in(each) for each in kept)
        seen = [self._marked(each, marks) if each.is_marked else each.seen for each in kept]
        return MarkedMessages(messages=seen, marks=marks)

    def _all_kept(self, messages: Sequence[Message], names: Sequence[str | None]) -> list[_Kept]:
        first = tuple(map(id, messages[:NUM_FIRST]))
        latest = self._latest.get(first) or _NOTHING
        size = len(latest.messages)
        is_longer = size <= len(messages) and all(map(operator.is_, latest.messages, messages))
        if not is_longer or latest.names != tuple(names[:size]):
            latest, size = _NOTHING, 0
        keys = list(zip(map(id, messages[size:]), names[size:], strict=True))
        found = list(map(self._kept.get, keys))
        new = self._new(
            {
                key: message
                for key, message, each in zip(keys, messages[size:], found, strict=True)
                if each is None
            }
        )
        kept = [*latest.kept, *(each or new[key] for key, each in zip(keys, found, strict=True))]
        # Less the last one: instead of a target, what was done follows.
        if len(messages) > NUM_FIRST:
            more = latest.size + sum(map(_size, messages[size:-1]))
            shown = _Shown(tuple(messages[:-1]), tuple(names[:-1]), tuple(kept[:-1]), more)
            self._latest.put(first, shown, size=more)
        return kept

    def _new(self, messages: Mapping[_Key, Message]) -> dict[_Key, _Kept]:
        """What is kept from now on of messages that were not."""
        shown = {key: self._show(message, key[1]) for key, message in messages.items()}
        plain = {key: each for key, each in shown.items() if is_plain(each)}
        seen = self._see(list(plain.values())) if plain else []
        new = {
            key: _Kept(message=messages[key], shown=each, seen=alone, is_marked=self._control.stand_in(each))
            for (key, each), alone in zip(plain.items(), seen, strict=True)
        }
        for key, kept in new.items():
            self._kept.put(key, kept, size=_size(kept.message))
        if len(new) < len(messages):
            raise NotPlainError
        return new

    def _marks_in(self, kept: _Kept) -> frozenset[str]:
        if kept.marks is None:
            kept.marks = marks_in(kept.shown)
        return kept.marks

    def _marked(self, kept: _Kept, marks: tuple[str, str]) -> dict[str, Any]:
        found = kept.marked.get(marks)
        if found is None:
            (seen,) = self._see([self._control.marked(kept.shown, marks)])
            found = kept.marked.setdefault(marks, seen)
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
