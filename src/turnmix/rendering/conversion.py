"""A JSON value of one type as one of another, where there is no doubt what is meant.

Models write numbers and booleans as strings and the other way round, and lists and objects as JSON text.

>>> converted("5", {"integer"}), converted(True, {"string"}), converted("[1]", {"array"}), converted("x", {"integer"})
(5, 'true', [1], 'x')
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Set
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.rendering.arguments import UnreadableJsonError, read_whole_json

_INTEGER = re.compile(r"\s*[+-]?\d{1,40}\s*")


def converted(value: Any, wanted: Set[str]) -> Any:
    """`value` as one of the wanted JSON types; as it is where it means none of them."""
    for name, convert in _CONVERTERS.items():
        if name in wanted and (found := convert(value)) is not None:
            return found
    return value


def _boolean(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    number = _number(value)
    return int(number) if isinstance(number, float) and number.is_integer() else None


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        if _INTEGER.fullmatch(value):
            return int(value)
        try:
            value = float(value)
        except ValueError:
            return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _json(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return None
        try:
            found = read_whole_json(value)
        except UnreadableJsonError:
            return None
        return found if isinstance(found, kind) else None

    return read


def _string(value: Any) -> str | None:
    if not isinstance(value, bool | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    try:
        return json_text(value)
    except ValueError:  # an integer of more digits than Python will print
        return None


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _json(list),
    "object": _json(dict),
    "string": _string,
}
