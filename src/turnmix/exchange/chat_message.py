"""One message of a row, in whichever of the usual shapes: canonical, and whether it is to be learned.

In: OpenAI's shape, with arguments as objects or as JSON texts and content as a text or as parts; or ShareGPT's `from`
and `value`. Out: a `ReadMessage`. Thoughts that stand apart become a leading `<think>` block, as renderers have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.core.json_text import json_copy, json_value
from turnmix.core.message import Message, Role, ToolCall
from turnmix.core.printable import printable_line
from turnmix.exchange.row_files import RowError, kind_of
from turnmix.rendering.arguments import without_surrogates

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMessage:
    """A message, and what its row says of it."""

    message: Message
    is_trained: bool | None
    """As the row says; None: it does not."""


def read_message(data: Any, *, field: str) -> ReadMessage:
    """`field`: where it stands, such as `messages[3]`. Raises RowError."""
    if not isinstance(data, Mapping):
        raise RowError(field, f"is {kind_of(data)}: write an object with role and content")
    role_field = "role" if "role" in data or "from" not in data else "from"
    given = data.get(role_field)
    role = ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        said = "is missing" if given is None else f"{_shown(given)} is no role"
        raise RowError(f"{field}.{role_field}", f"{said}: use system, user, assistant or tool")
    content_field = "value" if "content" not in data and "value" in data else "content"
    content = _text(data.get(content_field), f"{field}.{content_field}")
    content = content or _text(data.get("refusal"), f"{field}.refusal")
    calls: tuple[ToolCall, ...] = ()
    if given == "function_call":
        calls, content = _calls(content, f"{field}.{content_field}"), ""
    elif data.get("tool_calls"):
        calls = _calls(data["tool_calls"], f"{field}.tool_calls")
    elif data.get("function_call"):
        calls = _calls([data["function_call"]], f"{field}.function_call")
    if calls and role != "assistant":
        raise RowError(f"{field}.tool_calls", f"stands in a message of role {role}: only an assistant calls")
    if role == "assistant":
        content = _with_thoughts(data, content, field)
    return ReadMessage(
        message=Message(
            role=role,
            content=content,
            tool_calls=calls,
            tool_call_id=_answered(data) if role == "tool" else None,
        ),
        is_trained=_is_trained(data, role, field),
    )


def json_within(value: Any, field: str) -> Any:
    """A value, or the one that a JSON text says. Raises RowError: it says none."""
    if not isinstance(value, str):
        return value
    try:
        return json_value(value)
    except ValueError as error:
        raise RowError(field, f"is a text that is not JSON ({error})") from error


def json_object(value: Mapping[str, Any], field: str) -> dict[str, Any]:
    """`value`, without lone surrogates, which no tokenizer takes.

    Raises:
        RowError: a value in it is none of JSON's, as Parquet's dates are, and NaN.
    """
    try:
        copied = json_copy(value)
    except (TypeError, ValueError) as error:
        raise RowError(field, f"is not JSON ({error}): write texts, numbers, lists and objects") from error
    return _clean_object(copied)


def _shown(value: Any) -> str:
    return printable_line(repr(value)[:_SHOWN])


def _text(value: Any, field: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return without_surrogates(value)
    if not isinstance(value, list):
        raise RowError(field, f"is {kind_of(value)}: write a text")
    texts = []
    for index, part in enumerate(value):
        text = part.get("text", part.get("refusal")) if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise RowError(f"{field}[{index}]", f"{_shown(kind)} is no text: students here read text alone")
        texts.append(without_surrogates(text))
    return "".join(texts)


def _clean_object(value: Mapping[str, Any]) -> dict[str, Any]:
    return {without_surrogates(key): _clean(member) for key, member in value.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, Mapping):
        return _clean_object(value)
    return [_clean(member) for member in value] if isinstance(value, list) else value


def _with_thoughts(data: Mapping[str, Any], content: str, field: str) -> str:
    for name in _THOUGHTS:
        thoughts = _text(data.get(name), f"{field}.{name}").strip()
        if thoughts and not content.lstrip().startswith("<think>"):
            return f"<think>\n{thoughts}\n</think>\n\n{content}"
    return content


def _calls(value: Any, field: str) -> tuple[ToolCall, ...]:
    found = json_within(value, field)
    listed = [found] if isinstance(found, Mapping) else found
    if not isinstance(listed, list):
        raise RowError(field, f"is {kind_of(found)}: write a list of calls")
    return tuple(_call(each, index, f"{field}[{index}]") for index, each in enumerate(listed))


def _call(data: Any, index: int, field: str) -> ToolCall:
    if not isinstance(data, Mapping):
        raise RowError(field, f"is {kind_of(data)}: write an object with function, or name and arguments")
    function = data.get("function", data)
    if not isinstance(function, Mapping):
        raise RowError(f"{field}.function", f"is {kind_of(function)}: write name and arguments")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise RowError(f"{field}.function.name", f"{_shown(name)} is no name: write the name of a tool")
    given = function.get("arguments")
    arguments = json_within(given, f"{field}.function.arguments") if given not in (None, "") else {}
    if not isinstance(arguments, Mapping):
        raise RowError(
            f"{field}.function.arguments",
            f"is {kind_of(arguments)}: write an object, or JSON that says one",
        )
    call_id = data.get("id")
    return ToolCall(
        id=call_id if isinstance(call_id, str) and call_id else f"call_{index}",
        name=without_surrogates(name),
        arguments=json_object(arguments, f"{field}.function.arguments"),
    )


def _answered(data: Mapping[str, Any]) -> str | None:
    """The call that a tool's message answers; SWE-agent writes a list of one."""
    found = data.get("tool_call_id")
    listed = data.get("tool_call_ids")
    if found is None and isinstance(listed, Sequence) and not isinstance(listed, str) and listed:
        found = listed[0]
    return found if isinstance(found, str) else None


def _is_trained(data: Mapping[str, Any], role: Role, field: str) -> bool | None:
    for name in ("train", "weight"):
        value = data.get(name)
        if role != "assistant" or value is None:
            continue
        if value not in (0, 1):
            raise RowError(f"{field}.{name}", f"{_shown(value)}: use 1, to learn the message, or 0")
        return bool(value)
    return None
