"""Text of a message that spells a control token: kept apart from the control tokens that a template writes.

A file that an agent reads may hold `<|im_end|>`. In the rendered prompt it must not end the turn. In: messages as a
template takes them, and what control tokens look like. Out: the rendered text, and where in it such text stands.

    >>> texts = ControlTexts({"<|im_end|>"})
    >>> marked = texts.mark([{"role": "user", "content": "a <|im_end|> b"}])
    >>> texts.rendered(marked.messages[0]["content"] + "<|im_end|>", marked.marks)
    RenderedText(text='a <|im_end|> b<|im_end|>', literals=((2, 12),))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from turnmix.core.message import Message
from turnmix.core.trajectory import Trajectory
from turnmix.rendering.formats import CLOSE, OPEN

_CACHED_TEXTS = 4096
_KEPT_IN_TEXT = frozenset({OPEN, CLOSE})
"""The scaffold tells agents to write these."""
_KEPT_IN_TURNS = _KEPT_IN_TEXT | {"<think>", "</think>"}
_MARK = re.compile(r"[<\[|｜]\S*[>\]|｜]")
_MARKS = tuple(map(chr, range(0xE000, 0xE400)))
"""Characters for private use: a template writes none, and whatever it does with text leaves them in it."""
_ANY_MARKS = frozenset(_MARKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedText:
    """What a template wrote."""

    text: str
    literals: tuple[tuple[int, int], ...] = ()
    """From where to where a message's own text spells a control token."""

    def part(self, start: int, end: int | None = None) -> RenderedText:
        """The text from `start` to `end`."""
        end = len(self.text) if end is None else end
        inside = tuple((a - start, b - start) for a, b in self.literals if start <= a and b <= end)
        return RenderedText(text=self.text[start:end], literals=inside)

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The text in its order; of each piece: does it only spell a control token?"""
        position = 0
        for start, end in self.literals:
            if start > position:
                yield self.text[position:start], False
            yield self.text[start:end], True
            position = end
        if position < len(self.text):
            yield self.text[position:], False


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedMessages:
    """Messages in which a pair of characters stands around each control text."""

    messages: list[dict[str, Any]]
    marks: tuple[str, str] | None
    """None: there is nothing to mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTextCount:
    """Texts that spell a control token, in what agents were told: tasks and observations."""

    as_text: int
    """Those that reach the model as text."""
    as_tokens: int
    """Those that its tokenizer, or its server, reads as the control token."""

    def to_json(self) -> dict[str, int]:
        return {"as_text": self.as_text, "as_tokens": self.as_tokens}


class KnowsControlTexts(Protocol):
    """A renderer that knows how control text in messages reaches its model."""

    def control_texts(self, messages: Iterable[Message]) -> Sequence[bool]:
        """For each control text in what the agent was told: does it stay text?"""
        ...


def count_control_texts(trajectories: Iterable[Trajectory], renderer: KnowsControlTexts) -> ControlTextCount:
    """The control texts in tasks and observations, each where it first stands."""
    stay: list[bool] = []
    for trajectory in trajectories:
        stay += renderer.control_texts(trajectory.prompt)
        for turn in trajectory.turns:
            new = () if turn.opening is None else turn.opening.messages
            stay += renderer.control_texts(each for each in new if not isinstance(each, int))
            stay += renderer.control_texts(turn.observation)
    return ControlTextCount(as_text=sum(stay), as_tokens=len(stay) - sum(stay))


class ControlTexts:
    """Finds control text in messages, by how the control tokens of one model are spelled."""

    def __init__(self, tokens: Iterable[str]) -> None:
        spelled = sorted((token for token in tokens if len(token) > 1), key=len, reverse=True)
        self._any = "|".join(map(re.escape, spelled)) or "(?!)"
        self._pattern = re.compile(self._any)
        self._found_in = lru_cache(maxsize=_CACHED_TEXTS)(self._pattern.findall)

    def found_in(self, message: Message) -> list[str]:
        """The control texts in the content of a message that is no assistant's."""
        return [found for found in self._found_in(message.content) if found not in _KEPT_IN_TEXT]

    def mark(self, messages: Sequence[dict[str, Any]]) -> MarkedMessages:
        """The messages, with marks around each control text in contents and in arguments."""
        if not any(map(self.stand_in, messages)):
            return MarkedMessages(messages=list(messages), marks=None)
        marks = free_marks(map(marks_in, messages))
        return MarkedMessages(messages=[self.marked(message, marks) for message in messages], marks=marks)

    def stand_in(self, message: dict[str, Any]) -> bool:
        """Does any text of a message spell a control token?"""
        return any(self._found_in(text) for text in _texts(message))

    def rendered(self, text: str, marks: tuple[str, str] | None) -> RenderedText:
        """What a template made of messages with `marks`, less these."""
        if marks is None:
            return RenderedText(text=text)
        # A template may write JSON in ASCII alone.
        opening, closing = (f"(?:{mark}|\\\\u{ord(mark):04x})" for mark in marks)
        pieces: list[str] = []
        literals: list[tuple[int, int]] = []
        length = position = 0
        for match in re.finditer(f"{opening}({self._any}){closing}|{opening}|{closing}", text):
            before, spelled = text[position : match.start()], match[1] or ""
            length += len(before)
            if spelled:
                literals.append((length, length + len(spelled)))
            length += len(spelled)
            pieces += (before, spelled)
            position = match.end()
        return RenderedText(text="".join(pieces) + text[position:], literals=tuple(literals))

    def marked(self, message: dict[str, Any], marks: tuple[str, str]) -> dict[str, Any]:
        """One message with marks."""
        kept = _KEPT_IN_TURNS if message["role"] == "assistant" else _KEPT_IN_TEXT
        marked = {**message, "content": self._with_marks(message["content"], kept, marks)}
        if "tool_calls" in message:
            marked["tool_calls"] = [
                {**call, "function": self._with_marks(call["function"], frozenset(), marks)}
                for call in message["tool_calls"]
            ]
        return marked

    def _with_marks(self, value: Any, kept: frozenset[str], marks: tuple[str, str]) -> Any:
        if isinstance(value, str):
            return self._pattern.sub(
                lambda found: found[0] if found[0] in kept else found[0].join(marks), value
            )
        if isinstance(value, Mapping):
            return {
                self._with_marks(key, kept, marks): self._with_marks(item, kept, marks)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._with_marks(item, kept, marks) for item in value]
        return value


def control_tokens(tokenizer: Any, template: str, stop_ids: Iterable[int]) -> set[str]:
    """How a model's control tokens are spelled: its special tokens, those that end a turn, and the marks among its
    other added tokens that its template writes."""
    added = tokenizer.added_tokens_decoder
    stops = set(stop_ids)
    return {
        token.content
        for index, token in added.items()
        if token.special or index in stops or (_MARK.fullmatch(token.content) and token.content in template)
    }


def marks_in(message: dict[str, Any]) -> frozenset[str]:
    """The characters of a message that might be marks."""
    found: set[str] = set()
    for text in _texts(message):
        found |= _ANY_MARKS.intersection(text)
    return frozenset(found)


def free_marks(used: Iterable[frozenset[str]]) -> tuple[str, str]:
    """A pair of marks that none of the messages holds."""
    taken = frozenset().union(*used)
    free = (mark for mark in _MARKS if mark not in taken)
    return next(free), next(free)


def _texts(value: Any) -> Iterator[str]:
    """All strings in a message, names of arguments too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
