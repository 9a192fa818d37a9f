"""The tokens of prompts in which sampled turns keep theirs, put together anew only behind the latest prompt's history.

In: states and their rendered prompts. Out: the same tokens as for each prompt alone. What stands before the last end of
a turn bears on nothing behind it where the tokenizer cuts there; where anything else might, the whole prompt is taken.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from turnmix.core.message import Message
from turnmix.core.recent_cache import RecentCache
from turnmix.core.trajectory import State
from turnmix.rendering.control_text import RenderedText
from turnmix.rendering.history import place_turns
from turnmix.rendering.segments import SegmentTokenizer

Tokens = tuple[int, ...]
Array = NDArray[np.int32]
_MOST_TOKENS = 1 << 22
"""Of the conversations that go on: 16 or 32 MiB."""
Held = TypeVar("Held", list[int], Array)


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """A prompt up to the last end of a turn in it, which `text` ends with."""

    text: str
    literals: tuple[tuple[int, int], ...]
    turns: list[Message]
    """All of the prompt. Each begins at the one place where it may."""
    token_ids: list[int] | Array
    """Those of `text` are the first `num_tokens`."""
    num_tokens: int


class PromptTokens:
    """Threads may share it."""

    def __init__(
        self,
        segments: SegmentTokenizer,
        *,
        beginnings: Sequence[str],
        end: str,
        spoken: Callable[[Message], Tokens],
        decode: Callable[[Tokens], str],
    ) -> None:
        """`beginnings`, `end`: of a turn, as for `place_turns`. `spoken`: the sampled tokens of a turn, less its end,
        and `decode`: their text."""
        self._segments = segments
        self._beginnings = beginnings
        self._end = end
        self._spoken = spoken
        self._decode = decode
        self._histories = RecentCache[int, _History](most=_MOST_TOKENS)
        """By the first turn of their conversation."""

    def ids(self, state: State, prompt: RenderedText) -> list[int]:
        """The tokens of `state`, whose prompt is `prompt`."""
        return self._joined(state, prompt, _list).copy()

    def array(self, state: State, prompt: RenderedText) -> Array:
        """The same tokens, not to be written to. What a long prompt shares with the latest one is copied as a whole,
        not token by token."""
        return self._joined(state, prompt, _array)

    def _joined(
        self, state: State, prompt: RenderedText, join: Callable[[list[int] | Array, list[int]], Held]
    ) -> Held:
        """What `join` makes of the tokens that are shared with the latest prompt, and of those behind them. It may be
        kept for the next prompt."""
        turns = assistant_turns(state)
        history = self._shared_history(turns, prompt)
        shared: list[int] | Array = []
        ids: list[int] = []
        position, more = 0, turns
        if history is not None:
            shared, position = history.token_ids[: history.num_tokens], len(history.text)
            more = turns[len(history.turns) :]
        places = self._places(more, prompt.text, position)
        for place, turn in zip(places, more, strict=True):
            if place is not None:
                spoken = self._spoken(turn)
                ids += self._segments.ids(prompt.part(position, place))
                ids += spoken
                position = place + len(self._decode(spoken))
        cut = self._last_cut(prompt, position)
        if cut is None:
            return join(shared, ids + self._segments.ids(prompt.part(position)))
        ids += self._segments.ids(prompt.part(position, cut))
        num_tokens = len(shared) + len(ids)
        joined = join(shared, ids + self._segments.ids(prompt.part(cut)))
        if turns:
            kept = self._kept(prompt, cut, turns, history, joined, num_tokens)
            if kept is not None:
                self._histories.put(id(turns[0]), kept, size=len(joined))
        return joined

    def places(self, state: State, text: str) -> list[int | None]:
        """Where in the prompt's text each assistant message of `state` stands as it was sampled."""
        return self._places(assistant_turns(state), text, 0)

    def _places(self, turns: Sequence[Message], text: str, start: int) -> list[int | None]:
        """Those of `turns`, which stand behind `start`."""
        said = [self._decode(self._spoken(turn)) if turn.token_ids else None for turn in turns]
        if all(turn is None for turn in said):
            return [None] * len(said)
        history = text[start : len(text) - len(self._beginnings[-1])]
        places = place_turns(history, said, beginnings=self._beginnings, end=self._end)
        return [None if place is None else start + place for place in places]

    def _shared_history(self, turns: Sequence[Message], prompt: RenderedText) -> _History | None:
        """That of the conversation's latest prompt, if this prompt begins with it and its turns stand here where they
        stood."""
        history = self._histories.get(id(turns[0])) if turns else None
        if history is None or not prompt.text.startswith(history.text):
            return None
        size, cut = len(history.turns), len(history.text)
        if len(turns) < size or not all(map(operator.is_, history.turns, turns)):
            return None
        if tuple(each for each in prompt.literals if each[0] < cut) != history.literals:
            return None
        behind = len(prompt.text) - len(self._beginnings[-1])
        is_settled = self._num_beginnings(prompt.text, cut, behind) == len(turns) - size
        return history if is_settled and not self._spans(prompt.text, cut) else None

    def _kept(
        self,
        prompt: RenderedText,
        cut: int,
        turns: list[Message],
        shared: _History | None,
        ids: list[int] | Array,
        num_tokens: int,
    ) -> _History | None:
        """What the next prompt may share: nothing where it is not settled by the history alone where turns stand."""
        start, settled = (0, 0) if shared is None else (len(shared.text), len(shared.turns))
        text = prompt.text[:cut]
        if self._num_beginnings(text, start, cut) != len(turns) - settled:
            return None
        for turn in turns[settled:]:
            start = text.find(self._beginnings[0], start) + len(self._beginnings[0])
            reach = (
                self._beginnings[-1]
                + (self._decode(self._spoken(turn)) if turn.token_ids else "")
                + self._end
            )
            if start + len(reach) > cut + len(self._beginnings[0]):
                return None
        return _History(
            text=text,
            literals=tuple(each for each in prompt.literals if each[0] < cut),
            turns=turns,
            token_ids=ids,
            num_tokens=num_tokens,
        )

    def _last_cut(self, prompt: RenderedText, start: int) -> int | None:
        """Behind the last end of a turn that a template wrote from `start` on; None: there is none, or the tokenizer
        does not cut there."""
        if not self._segments.cuts_at(self._end):
            return None
        place = prompt.text.rfind(self._end, start)
        while place >= 0:
            cut = place + len(self._end)
            if not any(first < cut and place < last for first, last in prompt.literals):
                return cut
            place = prompt.text.rfind(self._end, start, cut - 1)
        return None

    def _num_beginnings(self, text: str, start: int, stop: int) -> int:
        return text.count(self._beginnings[0], start, stop)

    def _spans(self, text: str, cut: int) -> bool:
        """Does a beginning of a turn stand on both sides of `cut`?"""
        most = len(self._beginnings[0]) - 1
        return self._beginnings[0] in text[max(0, cut - most) : cut + most]


def _list(shared: list[int] | Array, more: list[int]) -> list[int]:
    """`shared` is the caller's own, and goes on: a copy would touch each token once more."""
    joined = shared if isinstance(shared, list) else shared.tolist()
    joined += more
    return joined


def _array(shared: list[int] | Array, more: list[int]) -> Array:
    joined = np.concatenate([np.asarray(shared, dtype=np.int32), np.array(more, dtype=np.int32)])
    joined.flags.writeable = False
    return joined


def assistant_turns(state: State) -> list[Message]:
    """What the agent said in `state`."""
    return [message for message in state.messages if message.role == "assistant"]
