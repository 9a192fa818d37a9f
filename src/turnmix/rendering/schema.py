"""What a JSON schema says of a value, whoever wrote the schema: a world, an endpoint, or a tool of the user's.

In: any JSON value, a schema, and the whole in which its references are looked up. Out: types, what does not fit, the
value as the schema wants it. Nothing raises. What is not understood here (a reference elsewhere, a pattern, a bound)
fits anything: a value is refused only for what is plainly wrong with it.

>>> schema = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
>>> sorted(types_of(schema)), fitted("5", schema), misfit([], schema).wants
(['integer', 'null'], 5, 'of type integer or null')
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.rendering.conversion import converted
from turnmix.rendering.schema_choices import MOST_LEVELS, SchemaReading

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "null": type(None),
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "array": list,
    "object": dict,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """What is wrong with a value."""

    place: str
    """Where in the value, as Python would write it: `[0].line`; nothing: the value itself."""
    wants: str
    """What would fit there: `of type integer`, `one of 1, 2`."""
    value: Any
    """What is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSchema:
    """What a schema says of an object's members."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    is_open: bool = True
    """Other members may be there too."""


def object_schema(parameters: Any) -> ObjectSchema:
    """The arguments of a tool. Those that a schema lists are all there are, unless it says that there may be more.

    >>> object_schema({"properties": {"path": {}}, "required": ["path"]}).is_open, object_schema({}).is_open
    (False, True)
    """
    first, *others = [_members(choice) for choice in SchemaReading(parameters).choices(parameters)]
    properties = dict(first.properties)
    for members in others:
        for name, schema in members.properties.items():
            properties[name] = {"anyOf": [properties[name], schema]} if name in properties else schema
    return ObjectSchema(
        properties=properties,
        required=tuple(name for name in first.required if all(name in each.required for each in others)),
        is_open=first.is_open or any(each.is_open for each in others),
    )


def types_of(schema: Any, root: Any = None) -> frozenset[str]:
    """The JSON types that a schema takes; none where it does not tell."""
    return _types_of(SchemaReading(root).choices(schema))


def is_of_type(value: Any, wanted: str) -> bool:
    """Whether a JSON value is of a JSON type; anything is of a type that is not known."""
    if wanted not in _TYPES:
        return True
    if isinstance(value, bool):
        return wanted == "boolean"
    if isinstance(value, int | float) and wanted == "number":
        return abs(value) <= sys.float_info.max  # no number of JSON's: one that is not finite
    return isinstance(value, _TYPES[wanted])


def misfit(value: Any, schema: Any, root: Any = None) -> Misfit | None:
    """The first thing of a value that is not as its schema says; None: it fits."""
    return _misfit(value, schema, SchemaReading(root))


def fitted(value: Any, schema: Any, root: Any = None) -> Any:
    """`value` in a type of the schema, where it has another and there is no doubt what is meant."""
    return _fitted(value, schema, SchemaReading(root))


def _misfit(value: Any, schema: Any, reading: SchemaReading, *, level: int = 0) -> Misfit | None:
    found: list[Misfit] = []
    choices = reading.choices(schema)
    if level > MOST_LEVELS or (len(choices) > 1 and not reading.may_go_on(level)):
        return None
    for choice in choices:
        wrong = _wrong_itself(value, choice) or _wrong_inside(value, choice, reading, level)
        if wrong is None:
            return None
        found.append(wrong)
    inside = [wrong for wrong in found if wrong.place]
    if len(inside) == 1 or len(found) == 1:  # of one choice alone the value has the type
        return (inside or found)[0]
    wants = dict.fromkeys(wrong.wants for wrong in found if not wrong.place)
    told = " or ".join(wants).replace(" or of type ", " or ") or "as its schema says"
    return Misfit(place="", wants=told, value=value)


def _fitted(value: Any, schema: Any, reading: SchemaReading, *, level: int = 0) -> Any:
    choices = reading.choices(schema)
    if level > MOST_LEVELS or (len(choices) > 1 and not reading.may_go_on(level)):
        return value
    wanted = _types_of(choices)
    if wanted and not any(is_of_type(value, each) for each in wanted):
        value = converted(value, wanted)
    if not isinstance(value, list | Mapping):
        return value
    for choice in choices:
        inner = _fitted_inside(value, choice, reading, level)
        if len(choices) == 1 or _misfit(inner, choice, reading, level=level) is None:
            return inner
    return value


def _types_of(choices: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    each_of = [_types(choice) for choice in choices]
    return frozenset().union(*each_of) if all(each_of) else frozenset()


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types that a plain schema says, or that its values or members show."""
    if declared := _declared_types(schema):
        return declared
    if (values := _values(schema)) is not None:
        return frozenset(
            next((name for name in _TYPES if is_of_type(value, name)), "number") for value in values
        )
    if any(isinstance(schema.get(key), Mapping) for key in ("properties", "additionalProperties")):
        return frozenset({"object"})
    return frozenset({"array"}) if schema.keys() & {"items", "prefixItems"} else frozenset()


def _declared_types(schema: Mapping[str, Any]) -> frozenset[str]:
    told = schema.get("type")
    names = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    types = frozenset(each for each in names if isinstance(each, str))
    return types | {"null"} if types and schema.get("nullable") is True else types


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    """The only values that fit; None: a schema does not list them."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) and values else None


def _members(schema: Mapping[str, Any]) -> ObjectSchema:
    properties, required = schema.get("properties"), schema.get("required")
    others = schema.get("additionalProperties", False)
    return ObjectSchema(
        properties=properties if isinstance(properties, Mapping) else {},
        required=tuple(name for name in required if isinstance(name, str))
        if isinstance(required, list | tuple)
        else (),
        is_open=not isinstance(properties, Mapping) or others is not False or "patternProperties" in schema,
    )


def _wrong_itself(value: Any, schema: Mapping[str, Any]) -> Misfit | None:
    types, values = _declared_types(schema), _values(schema)
    if types and not any(is_of_type(value, each) for each in types):
        return Misfit(place="", wants=f"of type {' or '.join(sorted(types))}", value=value)
    if values is None or any(_is_same(value, each) for each in values) or (value is None and "null" in types):
        return None
    return Misfit(place="", wants=f"one of {', '.join(map(_spelled, values))}", value=value)


def _wrong_inside(value: Any, schema: Mapping[str, Any], reading: SchemaReading, level: int) -> Misfit | None:
    for place, member, inner in _inside(value, schema):
        if (wrong := _misfit(member, inner, reading, level=level + 1)) is not None:
            return replace(wrong, place=place + wrong.place)
    if not isinstance(value, Mapping):
        return None
    members = _members(schema)
    if missing := [name for name in members.required if name not in value]:
        return Misfit(place=f".{missing[0]}", wants="given", value=None)
    if schema.get("additionalProperties") is False and not members.is_open:
        known = ", ".join(members.properties) or "nothing else"
        for name in value:
            if name not in members.properties:
                return Misfit(place=f".{name}", wants=f"left out: there may be {known}", value=value[name])
    return None


def _inside(value: Any, schema: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    """Each member of a value, with its place and its schema."""
    if isinstance(value, list):
        others = schema.get("items")
        first = schema.get("prefixItems", others)
        listed = first if isinstance(first, list) else []
        for index, item in enumerate(value):
            yield f"[{index}]", item, listed[index] if index < len(listed) else others
    elif isinstance(value, Mapping):
        known, others = _members(schema).properties, schema.get("additionalProperties")
        for name, item in value.items():
            yield f".{name}", item, known.get(name, others)


def _fitted_inside(value: Any, schema: Mapping[str, Any], reading: SchemaReading, level: int) -> Any:
    items = [_fitted(item, inner, reading, level=level + 1) for _, item, inner in _inside(value, schema)]
    return items if isinstance(value, list) else dict(zip(value, items, strict=True))


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _is_same(first: Any, second: Any) -> bool:
    """Whether two values are one in JSON, where true is not 1."""
    return isinstance(first, bool) == isinstance(second, bool) and first == second
