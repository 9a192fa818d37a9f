"""The seam between an agent's call and what carries it out.

In: the arguments of a call, any JSON at all. Out: always an observation the agent can act on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from turnmix.core.json_text import json_value
from turnmix.core.message import ToolSpecification
from turnmix.scaffold.observation import error, quoted


class Tool(Protocol):
    """One tool of a trajectory; may keep state between calls."""

    @property
    def specification(self) -> ToolSpecification: ...

    @property
    def ends_trajectory(self) -> bool:
        """A call that was not refused is the agent's last."""
        ...

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """The observation; `arguments` passed `check_arguments`. Raises InfrastructureError only."""
        ...

    async def close(self) -> None:
        """Free what the tool holds. Safe to call twice."""


class ArgumentError(Exception):
    """What is wrong with a call's arguments, in words for the agent."""


async def answer(tool: Tool, arguments: Any) -> str:
    """Check `arguments` and call the tool; a call that cannot be made is answered with what is expected."""
    try:
        checked = check_arguments(tool.specification, arguments)
    except ArgumentError as wrong:
        return error(f"{wrong}\nExpected: {signature(tool.specification)}")
    return await tool.call(checked)


def signature(specification: ToolSpecification) -> str:
    """A tool's call in one line: required arguments first, optional ones in brackets."""
    properties, required = _properties(specification)
    names = [name for name in properties if name in required]
    names += [f"[{name}]" for name in properties if name not in required]
    return f"{specification.name}({', '.join(names)})"


def check_arguments(specification: ToolSpecification, arguments: Any) -> dict[str, Any]:
    """`arguments` with the types of the specification; null counts as absent.

    Models write numbers and booleans as strings, and the other way round: what is unambiguous is accepted.

    Raises:
        ArgumentError: a name is unknown or missing, a value has the wrong type or is none of the choices.
    """
    if not isinstance(arguments, Mapping):
        raise ArgumentError(f"The arguments must be an object, not {_kind(arguments)}.")
    properties, required = _properties(specification)
    checked = {}
    for name, value in arguments.items():
        if name not in properties:
            known = ", ".join(properties)
            raise ArgumentError(f"Unknown argument {quoted(str(name))}. The arguments are: {known}.")
        if value is not None:
            checked[name] = _checked(name, value, properties[name])
    if missing := [name for name in required if name not in checked]:
        raise ArgumentError(f"Missing argument: {', '.join(missing)}.")
    return checked


def _properties(specification: ToolSpecification) -> tuple[Mapping[str, Any], list[str]]:
    return specification.parameters.get("properties", {}), specification.parameters.get("required", [])


def _checked(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    expected = schema.get("type", "string")
    read = {
        "string": _string,
        "boolean": _boolean,
        "integer": _integer,
        "number": _number,
        "array": _array,
    }[expected]
    result = read(value)
    if result is None:
        shown = f" {quoted(value)}" if isinstance(value, str) else ""
        raise ArgumentError(f"Argument `{name}` must be of type {expected}, not {_kind(value)}{shown}.")
    choices = schema.get("enum")
    if choices is not None and result not in choices:
        raise ArgumentError(
            f"Argument `{name}` must be one of {', '.join(map(str, choices))}, not {quoted(str(result))}."
        )
    if isinstance(result, list):
        return [_checked(f"{name}[{index}]", item, schema["items"]) for index, item in enumerate(result)]
    return result


def _string(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value) if isinstance(value, int | float) else None
    except ValueError:  # an integer of more digits than Python will print
        return None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or not number.is_integer() else int(number)


def _array(value: Any) -> list[Any] | None:
    if isinstance(value, str):
        try:
            value = json_value(value)
        except ValueError:
            return None
    return value if isinstance(value, list) else None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", type(None): "null"}
    return names.get(type(value), "object")
