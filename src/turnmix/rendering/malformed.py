"""Whether a target is one that nobody should learn: it says nothing, or calls what is not there.

In: an action, mended, and the tools on offer in its state. Out: what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.message import ToolCall, ToolSpecification, is_blank
from turnmix.core.trajectory import Action
from turnmix.core.untaught import Objection
from turnmix.rendering.markup import call_markup, named_call, without_code
from turnmix.rendering.schema import misfit, object_schema
from turnmix.rendering.thinking import holds_thinking, without_thinking


def malformed(action: Action, tools: Sequence[ToolSpecification]) -> Objection | None:
    """What is wrong with an action whose calls stand apart from its text; None: nothing."""
    if (objection := malformed_text(action)) is not None:
        return objection
    message = action.message
    said = without_thinking(message.content)
    prose = without_code(said)
    names = [tool.name for tool in tools]
    mark = call_markup(prose, names)
    if mark is None and not message.tool_calls:
        mark = named_call(said, names)  # beside no call, one that stands in a block of code may be meant
    if mark is not None:
        return Objection(reason="call_markup_in_text", detail=f"the text holds {mark!r}")
    return next((found for call in message.tool_calls if (found := malformed_call(call, tools))), None)


def malformed_text(action: Action) -> Objection | None:
    """What is wrong with an action whatever a call looks like, as in a conversation that tells of no tools, where that
    is its own matter; None: nothing."""
    message = action.message
    if action.parse_error is not None:
        return Objection(reason="call_could_not_be_read", detail=action.parse_error)
    if not message.tool_calls and is_blank(message.content):
        return Objection(reason="empty_answer", detail="there is neither text nor a call")
    said = without_thinking(message.content)
    if not message.tool_calls and is_blank(said):
        return Objection(reason="empty_answer", detail="there are thoughts alone")
    if holds_thinking(without_code(said)):
        return Objection(reason="thinking_in_text", detail="the text holds thinking, or the end of it")
    return None


def malformed_call(call: ToolCall, tools: Sequence[ToolSpecification]) -> Objection | None:
    """What is wrong with a call by the schema of its tool; None: nothing."""
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        known = ", ".join(each.name for each in tools) or "none"
        return Objection(
            reason="unknown_tool", detail=f"there is no tool {call.name!r}; the tools are: {known}"
        )
    members = object_schema(tool.parameters)
    for name, value in call.arguments.items():
        if name not in members.properties:
            if members.is_open:
                continue
            listed = ", ".join(members.properties) or "none"
            detail = f"{call.name} has no argument {name!r}; its arguments are: {listed}"
            return Objection(reason="unknown_argument", detail=detail)
        schema = members.properties[name]
        if misfit(value, schema, tool.parameters) is not None:
            detail = f"{call.name}: the argument {name!r} is not as its schema says: {schema}"
            return Objection(reason="argument_of_another_type", detail=detail)
    missing = [name for name in members.required if name not in call.arguments]
    if missing:
        return Objection(reason="missing_argument", detail=f"{call.name} lacks the argument {missing[0]!r}")
    return None
