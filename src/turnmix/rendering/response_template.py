"""The tool-call format of any model whose tokenizer says how its turns are read: transformers' response templates.

Text of one assistant turn in; content, calls or a complaint out. A response template is a set of fields with
the marks that open and close them; TurnMix reads `content`, `tool_calls` and the field of the thinking, which
becomes a leading `<think>…</think>` block of the content, as in the other formats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from turnmix.core.message import ToolCall, ToolSpecification
from turnmix.rendering.arguments import (
    UnreadableJsonError,
    read_json,
    without_surrogates,
)
from turnmix.rendering.formats import MalformedCallError, ParsedTurn, example_call, malformed_turn
from turnmix.rendering.tool_parameters import parameters_of, typed_argument

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_THINKING = re.compile(r"<think>\n(.*?)\n</think>\n\n", re.DOTALL)
_COMPLAINT_LENGTH = 200


class ResponseTemplateFormat:
    """Reads turns with the tokenizer's own response template, and writes calls with its chat template."""

    name = "response-template"

    def __init__(self, tokenizer: Any, *, generation_prompt: str, write: Callable[[ToolCall], str]) -> None:
        """
        generation_prompt: what the chat template puts before a turn; it may open the turn's first field
        write: a turn that is only this call, as the chat template renders it
        """
        self._tokenizer = tokenizer
        self._generation_prompt = generation_prompt
        self.write = write
        fields = tokenizer.response_template.get("fields", {})
        self.reasoning_key = next((key for key in _REASONING_KEYS if key in fields), None)

    def parse(self, text: str, tools: Sequence[ToolSpecification]) -> ParsedTurn:
        text = without_surrogates(text)
        try:
            return self._read(text, tools)
        except MalformedCallError as error:
            return malformed_turn(self, text, tools, error)

    def _read(self, text: str, tools: Sequence[ToolSpecification]) -> ParsedTurn:
        fields = self._fields(text)
        values = [value for field, value in fields if field == "tool_calls"]
        found = [call for value in values for call in (value if isinstance(value, list) else [value])]
        calls = tuple(_read_call(value, f"call_{index}", tools) for index, value in enumerate(found))
        if fields and fields[-1][0] == "tool_calls" and not self._is_closed(text, len(values), tools):
            raise MalformedCallError("the call is not closed")
        content = "\n".join(str(value) for field, value in fields if field == "content" and value)
        thinking = "\n".join(str(value) for field, value in fields if field == self.reasoning_key and value)
        return ParsedTurn(content=with_thinking(thinking, content), tool_calls=calls)

    def _fields(self, text: str) -> list[tuple[str, Any]]:
        """The fields that the model wrote, in order; those that its prompt opened and closed left out."""
        try:
            parser = self._tokenizer.get_response_parser(prefix=self._generation_prompt)
            events = [*parser.feed(text), *parser.finalize()[1]]
        except Exception as error:  # the tokenizer's template is somebody else's program
            complaint = " ".join(str(error).split())[:_COMPLAINT_LENGTH]
            raise MalformedCallError(f"it cannot be read: {complaint}") from None
        return [(event["field"], event["value"]) for event in events if event["type"] == "region_close"]

    def _is_closed(self, text: str, number: int, tools: Sequence[ToolSpecification]) -> bool:
        """Whether the last call was ended by its mark, so that another call behind it is one more field. A
        format that ends a call with the turn alone cannot tell, and lets it pass."""
        another = self.write(example_call(tools))
        if self._number_of_calls(another + another) < 2:
            return True
        return self._number_of_calls(text + another) > number

    def _number_of_calls(self, text: str) -> int:
        """How many fields of calls `text` has; 0 when it cannot be read."""
        try:
            return sum(field == "tool_calls" for field, _ in self._fields(text))
        except MalformedCallError:
            return 0


def with_thinking(thinking: str, content: str) -> str:
    """
    >>> with_thinking("Hm.", "Yes."), with_thinking("", "Yes.")
    ('<think>\\nHm.\\n</think>\\n\\nYes.', 'Yes.')
    """
    return f"<think>\n{thinking}\n</think>\n\n{content}" if thinking else content


def split_thinking(content: str) -> tuple[str, str]:
    """What `with_thinking` joined.

    >>> split_thinking("<think>\\nHm.\\n</think>\\n\\nYes."), split_thinking("Yes.")
    (('Hm.', 'Yes.'), ('', 'Yes.'))
    """
    block = _THINKING.match(content)
    return (block[1], content[block.end() :]) if block else ("", content)


def _read_call(value: Any, name_of_call: str, tools: Sequence[ToolSpecification]) -> ToolCall:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict):
        raise MalformedCallError("a call must be an object with a name and arguments")
    name, arguments = function.get("name"), function.get("arguments", {})
    if not isinstance(name, str) or not name:
        raise MalformedCallError("the name of the tool is missing")
    try:
        if isinstance(arguments, str):
            arguments = _whole_json(arguments)
        # There and back: what cannot be stored as plain JSON is refused with the words of the other formats.
        arguments = _whole_json(json.dumps(arguments, allow_nan=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise MalformedCallError(f"the arguments of `{name[:60]}` are no JSON object: {error}") from None
    if not isinstance(arguments, dict):
        raise MalformedCallError(f"the arguments of `{name[:60]}` must be an object of values by name")
    parameters = parameters_of(name, tools)
    typed = {
        key: typed_argument(given, key, parameters) if isinstance(given, str) else given
        for key, given in arguments.items()
    }
    return ToolCall(id=name_of_call, name=name, arguments=typed)


def _whole_json(text: str) -> Any:
    value, end = read_json(text)
    if rest := text[end:].strip():
        raise UnreadableJsonError(f"there is more behind them: {rest[:30]!r}")
    return value
