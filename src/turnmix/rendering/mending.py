"""A target as its student can write it: what a teacher's way of writing left in it is put right, nothing else.

In: an action and the tools on offer. Out: the same action with the values of its calls in the types of their
schemas, with nulls left out that no schema asks for, and without space around its text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.core.message import ToolCall, ToolSpecification
from turnmix.core.trajectory import Action
from turnmix.rendering.arguments import UnreadableJsonError, properties_of, read_whole_json, types_of
from turnmix.rendering.thinking import without_opened_thinking

_INTEGER = re.compile(r"\s*[+-]?\d{1,40}\s*")


def mended(action: Action, tools: Sequence[ToolSpecification]) -> Action:
    """The action itself where there is nothing to mend.

    >>> from turnmix.core.message import Message
    >>> timeout = {"type": "object", "properties": {"timeout": {"type": "integer"}, "path": {"type": "string"}}}
    >>> call = ToolCall(id="call_0", name="run", arguments={"timeout": "5", "path": None})
    >>> action = Action(message=Message(role="assistant", content="I run. ", tool_calls=(call,)))
    >>> message = mended(action, (ToolSpecification(name="run", description="", parameters=timeout),)).message
    >>> message.content, message.tool_calls[0].arguments
    ('I run.', {'timeout': 5})
    """
    message = action.message
    content = without_opened_thinking(message.content).strip()
    calls = tuple(_mended_call(call, tools) for call in message.tool_calls)
    if content == message.content and calls == message.tool_calls and _same_types(calls, message.tool_calls):
        return action
    return replace(action, message=replace(message, content=content, tool_calls=calls))


def is_of_type(value: Any, wanted: str) -> bool:
    """Whether a JSON value is of a JSON type; anything is of a type that is not known."""
    if wanted == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    classes: Mapping[str, type] = {
        "string": str,
        "boolean": bool,
        "array": list,
        "object": dict,
        "null": type(None),
    }
    return isinstance(value, classes[wanted]) if wanted in classes else True


def _mended_call(call: ToolCall, tools: Sequence[ToolSpecification]) -> ToolCall:
    properties = properties_of(call.name, tools)
    arguments = {
        name: _fitted(value, properties.get(name))
        for name, value in call.arguments.items()
        if value is not None or _asks_for_null(properties.get(name))
    }
    return replace(call, arguments=arguments)


def _asks_for_null(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    choices = schema.get("enum")
    return "null" in types_of(schema) or (isinstance(choices, list) and None in choices)


def _fitted(value: Any, schema: Any) -> Any:
    """`value` in a type of the schema, where it has another and there is no doubt what is meant."""
    wanted = types_of(schema)
    if wanted and not any(is_of_type(value, each) for each in wanted):
        fitting = [
            fit
            for name, convert in _CONVERTERS.items()
            if name in wanted and (fit := convert(value)) is not None
        ]
        value = fitting[0] if fitting else value
    if isinstance(value, list) and isinstance(schema, Mapping):
        return [_fitted(item, schema.get("items")) for item in value]
    if isinstance(value, Mapping) and isinstance(schema, Mapping):
        inner = schema.get("properties")
        known = inner if isinstance(inner, Mapping) else {}
        return {name: _fitted(item, known.get(name)) for name, item in value.items()}
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
    return json_text(value) if isinstance(value, bool | int | float) else None


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _json(list),
    "object": _json(dict),
    "string": _string,
}


def _same_types(calls: Sequence[ToolCall], others: Sequence[ToolCall]) -> bool:
    """Whether equal calls are alike in their types too: `True == 1` and `5 == 5.0`."""
    return all(
        repr(call.arguments) == repr(other.arguments) for call, other in zip(calls, others, strict=True)
    )
