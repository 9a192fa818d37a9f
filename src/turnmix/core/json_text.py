"""Values become JSON, and JSON values. Python's own writer says NaN and Infinity, which no JSON reader has to take; its
own reader takes nesting so deep that whoever walks over the value fails.

>>> json_text({"loss": float("nan"), "counts": [1, float("-inf")]})
'{"loss": null, "counts": [1, null]}'
>>> json_value('{"loss": null}')
{'loss': None}
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.errors import UserError

MOST_LEVELS = 100
"""Of lists and mappings in each other. What a model writes may have 32, and a record a dozen around it."""
MOST_LEVELS_IN_A_RECORD = 64
"""Of a value of others' that becomes part of a record, which is read again as a whole."""
MOST_BYTES = 16 * MEBIBYTE
"""Of a file that is read whole: a value takes some twenty times the memory of the shortest text that spells it."""
_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord(" ") for byte in range(256))
_LONG_NUMBER = b"0" * 19
"""A whole number of fewer digits has 64 bits at most."""


def json_text(value: Any, **options: Any) -> str:
    """`value` as JSON; `options` are those of `json.dumps`. A number that is not finite becomes null."""
    try:
        return _encoder(**options).encode(value)
    except ValueError:
        return json.dumps(_without_non_finite(value), allow_nan=False, **options)


@functools.lru_cache(maxsize=64)
def _encoder(**options: Any) -> json.JSONEncoder:
    """Made once for each way of writing, which takes as long as writing a short value."""
    return json.JSONEncoder(allow_nan=False, **options)


def json_bytes(value: Any) -> bytes:
    """`value` as JSON in UTF-8, as it goes over a wire: a prompt of 30,000 tokens in a tenth of a millisecond.

    >>> json_bytes({"prompt": [1, 2], "loss": float("nan"), "half": chr(0xD800)})
    b'{"prompt": [1, 2], "loss": null, "half": "?"}'
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # half of a surrogate pair, a large number, a key that is no text
        return json_text(value, ensure_ascii=False).encode("utf-8", "replace")


def json_copy(value: Any) -> Any:
    """`value` as it comes back from a record: a tuple as a list, a key as a text.

    >>> json_copy({"counts": (1, 2)})
    {'counts': [1, 2]}

    Raises:
        TypeError, ValueError: JSON does not hold it, or a number in it is not finite, or it nests too deep.
    """
    try:
        return json_value(json.dumps(value, allow_nan=False), levels=MOST_LEVELS_IN_A_RECORD)
    except RecursionError:
        raise ValueError(f"nested more than {MOST_LEVELS_IN_A_RECORD} levels deep") from None


def json_value(text: str | bytes, *, levels: int = MOST_LEVELS) -> Any:
    """The value that a JSON text says.

    Raises:
        ValueError: it is no JSON, or lists and mappings nest more than `levels` deep, or a number is endless.
    """
    value, _ = _read(text, levels)
    return value


def strict_json_value(text: str | bytes, *, levels: int = MOST_LEVELS) -> Any:
    """As `json_value`, of JSON that can be stored and sent again: halves of surrogate pairs are replaced.

    Raises:
        ValueError: as there, or a number is not finite.
    """
    value, is_strict = _read(text, levels)
    if is_strict:
        return value
    try:
        strict = json.dumps(value, ensure_ascii=False, allow_nan=False)
        try:
            strict.encode()
        except UnicodeEncodeError:
            return json_value(strict.encode("utf-8", "replace"), levels=levels)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _read(text: str | bytes, levels: int) -> tuple[Any, bool]:
    """The value, and whether it is known to be strict: orjson read it, which takes strict JSON alone, and it does not
    nest so deep that it may be too deep to be written where it was read."""
    is_strict = True
    try:
        value = _read_by_orjson(text)
    except ValueError:
        is_strict = False
        value = _read_by_python(text, levels)
    opened = (
        text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    )
    shallow = min(levels, MOST_LEVELS)
    is_deep = opened > shallow and nests_over(shallow, value)
    if is_deep and nests_over(levels, value):
        raise ValueError(f"nested more than {levels} levels deep")
    return value, is_strict and not is_deep


def _read_by_orjson(text: str | bytes) -> Any:
    """In a quarter of the time. Raises ValueError: it does not read this, or not as Python's own reader does, which
    keeps whole numbers of more than 64 bits."""
    written = text.encode() if isinstance(text, str) else text
    if _LONG_NUMBER in written.translate(_DIGITS):
        raise ValueError("a long number")
    return orjson.loads(written)


def _read_by_python(text: str | bytes, levels: int) -> Any:
    """Whatever JSON there is."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {levels} levels deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:  # of Python's own, which names a function of Python's
        raise ValueError("a number has thousands of digits") from None


def read_json_file(path: Path, *, fix: str) -> dict[str, Any]:
    """The object in a file of TurnMix's own, no link. Raises UserError, with the `fix`: it is damaged."""
    try:
        data = json_value(read_bounded(path, most=MOST_BYTES, follows_link=False))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {fix}") from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({error}): {fix}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object: {fix}")
    return data


def nests_over(levels: int, value: Any) -> bool:
    """Do lists and mappings nest more than `levels` deep in a value that was read as JSON?"""
    # Level by level: a function that calls itself is what deep nesting breaks.
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            member
            for each in level
            for member in (each if isinstance(each, list) else each.values())
            if type(member) is dict or type(member) is list
        ]
    return bool(level)


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _without_non_finite(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(member) for member in value]
    return value
