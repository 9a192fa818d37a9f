"""A target as its student can write it: what a teacher's way of writing left in it is put right, nothing else.

In: an action and the tools on offer. Out: the same action with the values of its calls in the types of their
schemas, with nulls left out that no schema asks for, and without space around its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turnmix.core.message import ToolCall, ToolSpecification
from turnmix.core.trajectory import Action
from turnmix.rendering.schema import fitted, misfit, object_schema, types_of
from turnmix.rendering.thinking import without_opened_thinking
from turnmix.rendering.tool_parameters import parameters_of


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


def _mended_call(call: ToolCall, tools: Sequence[ToolSpecification]) -> ToolCall:
    parameters = parameters_of(call.name, tools)
    properties = object_schema(parameters).properties
    arguments = {
        name: fitted(value, properties.get(name), parameters)
        for name, value in call.arguments.items()
        if value is not None or _asks_for_null(properties.get(name), parameters)
    }
    return replace(call, arguments=arguments)


def _asks_for_null(schema: Any, root: Any) -> bool:
    return bool(types_of(schema, root)) and misfit(None, schema, root) is None


def _same_types(calls: Sequence[ToolCall], others: Sequence[ToolCall]) -> bool:
    """Whether equal calls are alike in their types too: `True == 1` and `5 == 5.0`."""
    return all(
        repr(call.arguments) == repr(other.arguments) for call, other in zip(calls, others, strict=True)
    )
