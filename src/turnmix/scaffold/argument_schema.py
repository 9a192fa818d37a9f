"""The JSON schema of a call's arguments, as agents are shown it: short, and of what small models have seen.

In: pydantic's model. Out: a schema without titles, without references where there need be none, and in which an
argument that may be left out is shown as what it is where it is given.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from turnmix.rendering.schema_choices import inlined

_OF_SCHEMAS = ("properties", "patternProperties", "$defs")
_OF_VALUES = ("default", "const", "enum", "examples")


def shown_schema(model: type[BaseModel]) -> dict[str, Any]:
    """
    Raises:
        PydanticUserError: JSON cannot say a field's type.
    """
    made = model.model_json_schema(schema_generator=_Unsorted)
    whole = _tidied(inlined({name: part for name, part in made.items() if name != "$defs"}, made))
    properties = {name: _where_given(schema) for name, schema in whole.get("properties", {}).items()}
    schema = {"type": "object", "properties": properties, "required": whole.get("required", [])}
    if "$ref" in repr(properties):  # what refers to itself stays apart
        schema["$defs"] = _tidied(made.get("$defs", {}))
    return schema


def takes_null(annotation: Any) -> bool:
    """
    >>> takes_null(int | None), takes_null(int)
    (True, False)
    """
    if get_origin(annotation) is Annotated:
        return takes_null(get_args(annotation)[0])
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


class _Unsorted(GenerateJsonSchema):
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 (pydantic's own)

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


def _where_given(schema: dict[str, Any]) -> dict[str, Any]:
    """An argument's schema without the null by which it is left out."""
    shown = {name: value for name, value in schema.items() if name != "default" or value is not None}
    choices = [choice for choice in shown.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return {**shown, "anyOf": choices} if choices else shown
    given: dict[str, Any] = _tidied(
        {**choices[0], **{name: value for name, value in shown.items() if name != "anyOf"}}
    )
    return given


def _tidied(schema: Any) -> Any:
    """Without titles; the type first, the description last."""
    if isinstance(schema, list):
        return [_tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    order = sorted(schema, key=lambda name: (name != "type", name == "description"))
    return {
        name: _part(name, schema[name])
        for name in order
        if not (name == "title" and isinstance(schema[name], str))
    }


def _part(name: str, value: Any) -> Any:
    if name in _OF_VALUES:
        return value
    if name in _OF_SCHEMAS and isinstance(value, dict):
        return {member: _tidied(schema) for member, schema in value.items()}
    return _tidied(value)
