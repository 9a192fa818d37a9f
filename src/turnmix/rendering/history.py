"""A student's past turns keep the tokens it sampled: where they stand in the text of a later prompt.

In: a rendered prompt and what the student sampled, decoded. Out: where each turn stands word for word. There
its own token ids replace those that the tokenizer would choose for the same text; elsewhere the template has
rewritten the turn, which is drift.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


def place_turns(
    text: str, turns: Sequence[str | None], *, beginnings: Sequence[str], end: str
) -> list[int | None]:
    """Where in `text` each assistant turn of a history stands as it was sampled; None: nowhere.

    turns: every assistant turn in order, as sampled and without its end; None for one that was not sampled
    beginnings: what stands before a turn, the shortest first; each other one begins with it
    end: what ends a turn

    Of the second turn history keeps `run` alone. Before the third a user writes what looks like a turn:

    >>> text = "<u>hi<end><a>look<end><u>1<end><a>run<end><u><a>no<end><end><a>done<end>"
    >>> place_turns(text, ["look", "think run", "done"], beginnings=["<a>"], end="<end>")
    [13, None, 63]
    >>> text[13:], text[63:]
    ('look<end><u>1<end><a>run<end><u><a>no<end><end><a>done<end>', 'done<end>')
    """
    starts = [match.end() for match in re.finditer(re.escape(beginnings[0]), text)]
    # An observation may quote a beginning: then there are more of them than turns, and so many may be skipped.
    spare = len(starts) - len(turns)
    places: list[int | None] = []
    earliest = 0
    for number, turn in enumerate(turns):
        place = None
        for index in range(max(number, earliest), number + spare + 1):
            place = None if turn is None else _place(text, turn, starts[index], beginnings, end)
            if place is not None:
                earliest = index + 1
                break
        places.append(place)
    return places


def _place(text: str, turn: str, start: int, beginnings: Sequence[str], end: str) -> int | None:
    header = start - len(beginnings[0])
    for beginning in beginnings:
        place = header + len(beginning)
        if text.startswith(beginning, header) and text.startswith(turn + end, place):
            return place
    return None
