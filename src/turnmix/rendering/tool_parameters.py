"""What a tool's schema makes of what a model wrote: the schema of a call's arguments, and a value written as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from turnmix.core.message import ToolSpecification
from turnmix.rendering.arguments import UnreadableJsonError, read_whole_json
from turnmix.rendering.schema import object_schema, types_of

_PLAIN_SPELLINGS = {"True": True, "true": True, "False": False, "false": False}


def parameters_of(name: str, tools: Sequence[ToolSpecification]) -> Mapping[str, Any]:
    """The schema of the arguments of the tool `name`; an empty one for an unknown tool."""
    return next((tool.parameters for tool in tools if tool.name == name), {})


def typed_argument(text: str, name: str, parameters: Mapping[str, Any]) -> Any:
    """The argument `name`, written as text, as the type that its schema says."""
    return typed_value(text, object_schema(parameters).properties.get(name), parameters)


def typed_value(text: str, schema: Any, root: Any = None) -> Any:
    """`text` as the schema's type; as text where the schema takes text, is silent, or does not fit.

    >>> typed_value("3", {"type": "integer"}), typed_value("3", {"type": "string"}), typed_value("3", None)
    (3, '3', '3')
    >>> typed_value("3", {"anyOf": [{"type": "integer"}, {"type": "null"}]}), typed_value("3", {"type": ["string"]})
    (3, '3')
    """
    wanted = types_of(schema, root)
    if not wanted or "string" in wanted:
        return text
    if "boolean" in wanted and text.strip() in _PLAIN_SPELLINGS:
        return _PLAIN_SPELLINGS[text.strip()]
    if "null" in wanted and text.strip() in ("None", "null"):
        return None
    if not wanted & {"integer", "number", "array", "object"}:
        return text
    try:
        return read_whole_json(text)
    except UnreadableJsonError:
        return text
