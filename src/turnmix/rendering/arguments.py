"""Reading the values that a model wrote: any text in, a plain JSON value or a readable complaint out.

What comes out can be stored, rendered and sent on without surprise: finite numbers, no key twice, no lone
surrogate, at most `MAX_DEPTH` levels.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
MAX_DIGITS = 40

_SURROGATE = re.compile("[\ud800-\udfff]")


class UnreadableJsonError(ValueError):
    """What is wrong with the JSON, in words for the agent."""


def read_json(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value at `start` and the index just behind it.

    >>> read_json('x {"a": [1, 2]} y', 2)
    ({'a': [1, 2]}, 15)

    Raises:
        UnreadableJsonError: there is none, or one that cannot be used.
    """
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise UnreadableJsonError(f"the JSON is invalid: {error.msg} {_near(text, error.pos)}") from None
    except RecursionError:
        raise UnreadableJsonError(f"the JSON is nested deeper than {MAX_DEPTH} levels") from None
    require_usable(value)
    return value, end


def read_whole_json(text: str) -> Any:
    """The JSON value that a text is, with nothing behind it.

    Raises:
        UnreadableJsonError: it is none, or one that cannot be used.
    """
    value, end = read_json(text)
    if text[end:].strip():
        raise UnreadableJsonError(f"there is more behind the JSON value, {_near(text, end)}")
    return value


def require_usable(value: Any) -> None:
    """
    Raises:
        UnreadableJsonError: the JSON value nests deeper than `MAX_DEPTH`, or holds half a surrogate pair.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, str) and not item.isascii() and _SURROGATE.search(item):
                raise UnreadableJsonError("a string holds half of a \\u surrogate pair")
            if isinstance(item, dict):
                deeper.extend(item)
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return
        level = deeper
    raise UnreadableJsonError(f"the JSON is nested deeper than {MAX_DEPTH} levels")


def without_surrogates(text: str) -> str:
    """`text` with every lone surrogate replaced by U+FFFD, so that it can be encoded as UTF-8."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _near(text: str, position: int) -> str:
    snippet = text[position : position + 30].replace("\n", "\\n")
    return f"before {snippet!r}" if snippet else "at the end of the text"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UnreadableJsonError(f"the key {twice[:60]!r} is given twice")
    return read


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise UnreadableJsonError(f"the number {literal[:60]} is too large")
    return value


def _bounded(literal: str) -> int:
    if len(literal) > MAX_DIGITS:
        raise UnreadableJsonError(f"the number {literal[:20]}… has more than {MAX_DIGITS} digits")
    return int(literal)


def _no_constant(literal: str) -> NoReturn:
    raise UnreadableJsonError(f"{literal} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_float=_finite, parse_int=_bounded, parse_constant=_no_constant
)
