"""The tools that a request offers, and which of them may be called. In: what was read of a request. Out: tool
specifications, and the choice among them in the names of OpenAI's chat completions.

A custom tool takes a text in place of arguments by name. Here it is a function with one argument, `input`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from turnmix.core.json_text import json_text
from turnmix.core.message import ToolCall, ToolSpecification
from turnmix.gateway.dialects.shape import PlainObject, Shape, String, shown
from turnmix.gateway.model_request import RequestError

INPUT = "input"
"""The argument of a custom tool."""


class Function(Shape):
    """A tool with arguments by name."""

    name: String = Field(min_length=1)
    description: String | None = None
    parameters: PlainObject | None = None

    def specification(self) -> ToolSpecification:
        schema = self.parameters or {"properties": {}}
        return ToolSpecification(
            name=self.name, description=self.description or "", parameters={"type": "object", **schema}
        )


class Custom(Shape):
    """A tool that takes a text."""

    name: String = Field(min_length=1)
    description: String | None = None
    format: PlainObject | None = None

    def specification(self) -> ToolSpecification:
        grammar = (self.format or {}).get("grammar", self.format or {})
        told = [self.description or ""]
        if isinstance(grammar, Mapping) and isinstance(definition := grammar.get("definition"), str):
            told.append(f"The input follows this {grammar.get('syntax', 'lark')} grammar:\n{definition}")
        schema = {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT]}
        return ToolSpecification(
            name=self.name, description="\n\n".join(filter(None, told)), parameters=schema
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which tools an answer may call."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None
    """The one that it has to call."""
    allowed: Sequence[str] | None = None
    """Those that it may; None: all."""


Specifications = Mapping[str, ToolSpecification]
"""Of all tools that a request gives, by name."""


def specified(
    tools: Sequence[Function | Custom], *, inside: str = "", schema: str = "parameters"
) -> Specifications:
    """
    inside: what holds a tool's name, as a path of the dialect has it
    schema: the dialect's name for the parameters

    Raises:
        RequestError: two have one name, or a schema is none of an object.
    """
    specifications: dict[str, ToolSpecification] = {}
    for number, tool in enumerate(tools):
        specification = tool.specification()
        if tool.name in specifications:
            raise _refused(f"tools[{number}].{inside}name", tool.name, "two tools have this name: rename one")
        if specification.parameters["type"] != "object":
            told = specification.parameters["type"]
            raise _refused(f"tools[{number}].{inside}{schema}.type", told, "give 'object'")
        specifications[tool.name] = specification
    return specifications


def offered(
    specifications: Specifications, choice: Choice
) -> tuple[tuple[ToolSpecification, ...], str | Mapping[str, Any] | None]:
    """The tools of the state, and `tool_choice`, where it is not left open.

    Raises:
        RequestError: the choice names a tool that is not there, or there is none.
    """
    names = [*(choice.allowed or ()), *([] if choice.name is None else [choice.name])]
    if unknown := [name for name in names if name not in specifications]:
        raise _refused("tool_choice", unknown[0], "no tool has this name: give one of `tools`")
    if choice.mode == "none":
        return (), None
    if choice.mode == "required" and not specifications:
        raise _refused("tool_choice", "required", "there are no tools: give some, or leave it out")
    kept = [
        specification
        for name, specification in specifications.items()
        if choice.allowed is None or name in choice.allowed
    ]
    if choice.name is not None:
        return tuple(kept), {"type": "function", "function": {"name": choice.name}}
    return tuple(kept), "required" if choice.mode == "required" else None


def arguments_text(call: ToolCall) -> str:
    """A call's arguments as OpenAI's dialects write them."""
    return json_text(dict(call.arguments), ensure_ascii=False)


def input_text(call: ToolCall) -> str:
    """The text that a custom tool is called with; of other arguments their JSON."""
    text = call.arguments.get(INPUT)
    return text if isinstance(text, str) and len(call.arguments) == 1 else arguments_text(call)


def _refused(parameter: str, value: Any, fix: str) -> RequestError:
    return RequestError("invalid_request", f"{parameter}: {shown(value)}: {fix}", parameter=parameter)
