"""The arguments of a tool's call: a JSON schema for the agent, and what the agent wrote as Python values.

In: an annotated function, and any JSON at all. Out: keyword arguments for the function, or words for the agent.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from turnmix.core.errors import first_line
from turnmix.core.json_text import json_text
from turnmix.rendering.arguments import MAX_DEPTH
from turnmix.rendering.schema import Misfit, fitted, misfit
from turnmix.scaffold.argument_schema import shown_schema, takes_null
from turnmix.scaffold.observation import printable, quoted


class ArgumentError(Exception):
    """What is wrong with a call's arguments, in words for the agent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CallArguments:
    """How one tool is called."""

    schema: Mapping[str, Any]
    """A JSON schema of type `object`."""
    _model: type[BaseModel]
    _fields: Mapping[str, str]
    """The model's field of each argument: an argument may have a name that a field may not."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CallArguments:
        """
        In:
            function: a method; each parameter behind its first has an annotation.

        Raises:
            ValueError: a parameter cannot be given by name, or has no annotation, or none that JSON can say.
        """
        return _arguments_of(function)

    def read(self, given: Any) -> dict[str, Any]:
        """What is to be given to the function; null counts as absent.

        Models write numbers and booleans as strings, and the other way round, and lists as JSON text: what is
        unambiguous is accepted.

        Raises:
            ArgumentError: a name is unknown or missing, or a value has the wrong type or is none of the choices.
        """
        if not isinstance(given, Mapping):
            raise ArgumentError(f"The arguments must be an object, not {_type_name(given)}.")
        properties = self.schema["properties"]
        found = {}
        for name, value in given.items():
            if name not in properties:
                known = (
                    f"The arguments are: {', '.join(properties)}" if properties else "There are no arguments"
                )
                raise ArgumentError(f"Unknown argument {quoted(str(name))}. {known}.")
            if value is not None:
                found[name] = self._fitted(name, value)
        if missing := [name for name in self.schema["required"] if name not in found]:
            raise ArgumentError(f"Missing argument: {', '.join(missing)}.")
        try:
            model = self._model.model_validate(found)
        except ValidationError as error:
            raise ArgumentError(_told(error, found)) from None
        return {name: getattr(model, field) for name, field in self._fields.items()}

    def _fitted(self, name: str, value: Any) -> Any:
        schema = self.schema["properties"][name]
        value = fitted(_printable(name, value), schema, self.schema)
        if (wrong := misfit(value, schema, self.schema)) is not None:
            raise ArgumentError(f"Argument `{name}{wrong.place}` {_wrong(wrong)}.")
        return value


@lru_cache(maxsize=256)
def _arguments_of(function: Callable[..., Any]) -> CallArguments:
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ValueError(f"an annotation of call cannot be read: {error}") from error
    _, *parameters = inspect.signature(function).parameters.values()
    fields: dict[str, str] = {}
    annotated: dict[str, Any] = {}
    for index, parameter in enumerate(parameters):
        name = parameter.name
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ValueError(f"call has the parameter {parameter}: write each argument as one of its own")
        if name not in hints:
            raise ValueError(
                f"call has the parameter {name} without an annotation: write {name}: str, or the like"
            )
        fields[name] = f"argument_{index}"
        annotated[fields[name]] = _field(hints[name], parameter.default, name)
    try:
        model = create_model("Arguments", **annotated)
        schema = shown_schema(model)
        json_text(schema)
    except Exception as error:  # an annotation may be, and run, anything
        names = [name for name in fields if not _can_be_said(hints[name])]
        of = f"the parameter {names[0]}" if names else "a parameter"
        raise ValueError(f"call has {of} that JSON cannot say: {first_line(error)}") from error
    return CallArguments(schema=schema, _model=model, _fields=fields)


def _can_be_said(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation).json_schema()
    except Exception:
        return False
    return True


def _field(annotation: Any, default: Any, name: str) -> Any:
    """Type and default of a model's field; one that takes None need not be given."""
    if isinstance(default, FieldInfo):
        return Annotated[annotation, default, Field(alias=name)]
    if default is inspect.Parameter.empty:
        default = None if takes_null(annotation) else ...
    return Annotated[annotation, Field(alias=name)], default


def _printable(name: str, value: Any, *, level: int = 0) -> Any:
    """`value` without lone surrogates, which no Python program can print or write to a file."""
    if level > MAX_DEPTH:
        raise ArgumentError(f"Argument `{name}` is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        members = value.items()
        return {printable(key): _printable(name, member, level=level + 1) for key, member in members}
    if isinstance(value, list):
        return [_printable(name, member, level=level + 1) for member in value]
    return value


def _wrong(wrong: Misfit) -> str:
    if wrong.wants.startswith("of type"):
        shown = f" {quoted(wrong.value)}" if isinstance(wrong.value, str) else ""
        return f"must be {wrong.wants}, not {_type_name(wrong.value)}{shown}"
    if wrong.wants.startswith("one of") and isinstance(wrong.value, str | int | float | None):
        return f"must be {wrong.wants}, not {quoted(_spelled(wrong.value))}"
    return f"must be {wrong.wants}"


def _told(error: ValidationError, given: Any) -> str:
    """The first thing that pydantic found, in words for the agent."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name, *inner = first["loc"] or ("",)
    place, value = f"{name}", given.get(name)
    is_missing = first["type"] == "missing"
    for part in inner:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            value = None if is_missing and part == inner[-1] else value[part]
            place += f"[{part}]" if isinstance(part, int) else f".{part}"
    if is_missing:
        return f"Argument `{place}` must be given."
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if message.startswith("Input should "):
        return f"Argument `{place}` must {message.removeprefix('Input should ')}."
    return f"Argument `{place}`: {message}"


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", type(None): "null"}
    return names.get(type(value), "object")


def _spelled(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # an integer of more digits than Python will print
        return "a number of thousands of digits"
