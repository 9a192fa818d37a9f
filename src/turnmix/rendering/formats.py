"""How a model family writes tool calls. Text of one assistant turn in; content, calls or a complaint out.

`parse` never raises. A malformed call executes nothing: the raw text stays the content, and `error` tells
the agent what is wrong and shows the right form. A `<think>…</think>` block stays in the content, and calls
inside it are not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from turnmix.core.json_text import json_text
from turnmix.core.message import ToolCall, ToolSpecification
from turnmix.rendering.arguments import (
    UnreadableJsonError,
    read_json,
    without_surrogates,
)
from turnmix.rendering.schema import object_schema, types_of
from turnmix.rendering.tool_parameters import parameters_of, typed_argument

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_SPACE = re.compile(r"\s*")
_CLOSE_THINKING = "</think>"
_ENDS_THINKING = re.compile(rf"{_CLOSE_THINKING}[ \t]*(\r?\n|$|{OPEN})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedTurn:
    """What an assistant turn says and calls. With an `error` there are no calls, and the raw text stays."""

    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    error: str | None = None


class ToolCallFormat(Protocol):
    """One family's way of writing tool calls as text."""

    name: str
    reasoning_key: str | None
    """Where a template of this family wants the thinking of a message; None: in the content, as it stands."""

    def parse(self, text: str, tools: Sequence[ToolSpecification]) -> ParsedTurn:
        """Read one assistant turn. Never raises; calls are named `call_0`, `call_1`, … by position."""
        ...

    def write(self, call: ToolCall) -> str:
        """The call as the family writes it."""
        ...


def formats_in(chat_template: str) -> tuple[ToolCallFormat, ...]:
    """The formats that a chat template seems to write, the likeliest first.

    >>> [format.name for format in formats_in('<tool_call>{"name": …, "arguments": …}</tool_call>')]
    ['hermes']
    """
    if "<function=" in chat_template and "<parameter=" in chat_template:
        return (Qwen3CoderFormat(),)
    if OPEN in chat_template and "arguments" in chat_template:
        return (HermesFormat(),)
    return ()


class HermesFormat:
    """`<tool_call>` around a JSON object with `name` and `arguments`.

    >>> HermesFormat().parse('Hm.\\n<tool_call>\\n{"name": "f", "arguments": {"x": 1}}\\n</tool_call>', ())
    ParsedTurn(content='Hm.', tool_calls=(ToolCall(id='call_0', name='f', arguments={'x': 1}),), error=None)
    """

    name = "hermes"
    reasoning_key: str | None = None

    def parse(self, text: str, tools: Sequence[ToolSpecification]) -> ParsedTurn:
        return _parse_turn(self, text, tools)

    def write(self, call: ToolCall) -> str:
        body = {"name": call.name, "arguments": dict(call.arguments)}
        return f"{OPEN}\n{json_text(body, ensure_ascii=False)}\n{CLOSE}"

    def read_body(self, text: str, start: int, tools: Sequence[ToolSpecification]) -> _Body:
        """The call whose JSON begins at `start`."""
        try:
            value, end = read_json(text, start)
        except UnreadableJsonError as error:
            raise MalformedCallError(str(error)) from None
        if not isinstance(value, dict):
            raise MalformedCallError("the JSON must be an object with the keys `name` and `arguments`")
        for key in ("name", "arguments"):
            if key not in value:
                raise MalformedCallError(f"the JSON object lacks the key `{key}`")
        if extra := sorted(set(value) - {"name", "arguments"}):
            raise MalformedCallError(
                f"the JSON object has the unknown key {extra[0][:60]!r}: arguments belong inside `arguments`"
            )
        if not isinstance(value["name"], str) or not value["name"]:
            raise MalformedCallError("`name` must be the name of a tool, as a string")
        if not isinstance(value["arguments"], dict):
            raise MalformedCallError("`arguments` must be a JSON object of values by argument name")
        return _Body(value["name"], value["arguments"], end)


class Qwen3CoderFormat:
    """XML-like calls whose values stand as plain text and are read back by the tool's schema.

    >>> text = "<tool_call>\\n<function=f>\\n<parameter=x>\\n1\\n</parameter>\\n</function>\\n</tool_call>"
    >>> Qwen3CoderFormat().parse(text, ()).tool_calls
    (ToolCall(id='call_0', name='f', arguments={'x': '1'}),)
    """

    name = "qwen3-coder"
    reasoning_key: str | None = None

    def parse(self, text: str, tools: Sequence[ToolSpecification]) -> ParsedTurn:
        return _parse_turn(self, text, tools)

    def write(self, call: ToolCall) -> str:
        lines = [OPEN, f"<function={call.name}>"]
        for key, value in call.arguments.items():
            written = value if isinstance(value, str) else json_text(value, ensure_ascii=False)
            lines += [f"<parameter={key}>", written, "</parameter>"]
        return "\n".join([*lines, "</function>", CLOSE])

    def read_body(self, text: str, start: int, tools: Sequence[ToolSpecification]) -> _Body:
        """The call whose `<function=…>` begins at `start`."""
        opening = _FUNCTION.match(text, start)
        if opening is None:
            raise MalformedCallError(f"`{OPEN}` must be followed by `<function=NAME>`")
        name = opening[1].strip()
        parameters = parameters_of(name, tools)
        arguments: dict[str, Any] = {}
        position = opening.end()
        while (parameter := _PARAMETER.match(text, position)) is not None:
            key = parameter[1].strip()
            closing = _PARAMETER_END.search(text, parameter.end())
            if closing is None:
                raise MalformedCallError(f"the parameter `{key[:60]}` is not closed by `</parameter>`")
            if key in arguments:
                raise MalformedCallError(f"the parameter `{key[:60]}` is given twice")
            value = text[parameter.end() : closing.start()]
            value = value[1:] if value.startswith("\n") else value
            value = value[:-1] if value.endswith("\n") else value
            arguments[key] = typed_argument(value, key, parameters)
            position = closing.end()
        ending = _FUNCTION_END.match(text, position)
        if ending is None:
            raise MalformedCallError(f"the function `{name[:60]}` is not closed by `</function>`")
        return _Body(name, arguments, ending.end())


_FUNCTION = re.compile(r"\s*<function=([^<>\n]*[^<>\s][^<>\n]*)>")
_FUNCTION_END = re.compile(r"\s*</function>")
_PARAMETER = re.compile(r"\s*<parameter=([^<>\n]*[^<>\s][^<>\n]*)>")
# A value may itself hold `</parameter>`: the one that ends it is followed by what may follow a parameter.
_PARAMETER_END = re.compile(r"</parameter>(?=\s*(?:<parameter=|</function>))")


class _Body(NamedTuple):
    name: str
    arguments: dict[str, Any]
    end: int


class MalformedCallError(Exception):
    """What is wrong with the call, in words for the agent."""


class _ReadsBodies(ToolCallFormat, Protocol):
    def read_body(self, text: str, start: int, tools: Sequence[ToolSpecification]) -> _Body: ...


def malformed_turn(
    format: ToolCallFormat, text: str, tools: Sequence[ToolSpecification], error: MalformedCallError
) -> ParsedTurn:
    """A turn that executes nothing, with what to tell the agent."""
    example = format.write(example_call(tools))
    message = f"Your tool call was not executed: {error}. Write a tool call exactly like this:\n{example}"
    return ParsedTurn(content=text, error=message)


def _parse_turn(format: _ReadsBodies, text: str, tools: Sequence[ToolSpecification]) -> ParsedTurn:
    text = without_surrogates(text)
    try:
        return _split_turn(format, text, tools)
    except MalformedCallError as error:
        return malformed_turn(format, text, tools, error)


def _split_turn(format: _ReadsBodies, text: str, tools: Sequence[ToolSpecification]) -> ParsedTurn:
    position = _end_of_thinking(format, text, tools)
    if OPEN not in text[position:]:
        _refuse_stray_marks(text[position:])
        return ParsedTurn(content=text)
    pieces = [text[:position]]
    calls: list[ToolCall] = []
    while (start := text.find(OPEN, position)) >= 0:
        pieces.append(text[position:start])
        body, position = _read_call(format, text, start, tools)
        calls.append(ToolCall(id=f"call_{len(calls)}", name=body.name, arguments=body.arguments))
    pieces.append(text[position:])
    _refuse_stray_marks("".join(pieces[1:]))
    content = pieces[0] + "\n".join(piece.strip() for piece in pieces[1:] if piece.strip())
    return ParsedTurn(content=content.strip(), tool_calls=tuple(calls))


def _read_call(
    format: _ReadsBodies, text: str, start: int, tools: Sequence[ToolSpecification]
) -> tuple[_Body, int]:
    """The call that opens at `start`, and the index behind its closing mark."""
    body = format.read_body(text, start + len(OPEN), tools)
    position = _SPACE.match(text, body.end).end()  # type: ignore[union-attr]
    if not text.startswith(CLOSE, position):
        raise MalformedCallError(f"the call of `{body.name[:60]}` must be followed by `{CLOSE}` at once")
    return body, position + len(CLOSE)


def _end_of_thinking(format: _ReadsBodies, text: str, tools: Sequence[ToolSpecification]) -> int:
    """Where the answer begins. `</think>` alone ends a block too: the generation prompt may open one. A call
    drafted before it is no call; a mark inside the arguments of a call ends nothing."""
    closing = text.find(_CLOSE_THINKING)
    if text.lstrip().startswith("<think>"):
        if closing < 0:
            raise MalformedCallError("the thinking block is not closed; write `</think>` before the call")
        return _behind(text, closing)
    position = 0
    while (closing := text.find(_CLOSE_THINKING, position)) >= 0:
        call = text.find(OPEN, position)
        if call < 0 or closing < call:
            is_end = position == 0 or _ENDS_THINKING.match(text, closing) is not None
            return _behind(text, closing) if is_end else 0
        try:
            position = _read_call(format, text, call, tools)[1]
        except MalformedCallError:
            return _behind(text, closing) if _ENDS_THINKING.match(text, closing) else 0
    return 0


def _behind(text: str, closing: int) -> int:
    return _SPACE.match(text, closing + len(_CLOSE_THINKING)).end()  # type: ignore[union-attr]


def _refuse_stray_marks(text: str) -> None:
    for mark in (CLOSE, "<function=", "</function>"):
        if mark in text:
            raise MalformedCallError(f"`{mark}` stands outside of a `{OPEN}` block")


def example_call(tools: Sequence[ToolSpecification]) -> ToolCall:
    """A call of the first tool that takes text, with its required arguments."""
    for tool in tools:
        members = object_schema(tool.parameters)
        required = [name for name in members.required if name in members.properties]
        if required and all(
            types_of(members.properties[name], tool.parameters) == {"string"} for name in required
        ):
            return ToolCall(id="call_0", name=tool.name, arguments={name: "..." for name in required})
    return ToolCall(id="call_0", name="TOOL_NAME", arguments={"ARGUMENT_NAME": "VALUE"})
