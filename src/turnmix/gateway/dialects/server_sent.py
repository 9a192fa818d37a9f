"""Server-sent events. In: JSON values, or an answer. Out: bytes, or the pieces in which an answer is streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.gateway.model_request import AnswerToken

_SMALLEST = 32
_MOST_PIECES = 16
COMMENT = b": still here\n\n"


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One event; `name`: where a dialect names its events."""
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json_text(data, separators=(',', ':'))}\n\n".encode()


def pieces(text: str) -> Iterator[str]:
    """A text in a few pieces. The first comes at once, so that a client shows that something comes.

    >>> [len(piece) for piece in pieces("x" * 100)], list(pieces(""))
    ([32, 32, 32, 4], [])
    """
    length = max(_SMALLEST, -(-len(text) // _MOST_PIECES))
    for start in range(0, len(text), length):
        yield text[start : start + length]


def token_pieces(
    text: str, tokens: Sequence[AnswerToken] | None
) -> Iterator[tuple[str, Sequence[AnswerToken]]]:
    """The same, each piece with its tokens; where the text is not spelt by them, all of them with the first."""
    if tokens is None or "".join(token.text for token in tokens) != text:
        rest: Sequence[AnswerToken] = tokens or ()
        for piece in pieces(text) if text else iter([""] if rest else []):
            yield piece, rest
            rest = ()
        return
    number = max(8, -(-len(tokens) // _MOST_PIECES))
    for start in range(0, len(tokens), number):
        group = tokens[start : start + number]
        yield "".join(token.text for token in group), group
