"""The body of a chat completion, read.

In: the body of an answer. Out: an `Action`, whose arguments are objects, where the wire has JSON strings. What a
model got wrong in a call is data: an `Action` with `parse_error` and the raw text kept. Only a body that is no chat
completion raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from turnmix.core.json_text import json_text, json_value, strict_json_value
from turnmix.core.message import Message, ToolCall, is_blank
from turnmix.core.trajectory import Action, State
from turnmix.policies.endpoint.wire_answer import (
    AnyChoice,
    WireAnswer,
    WireCall,
    WireChoice,
    WireFunction,
    WireUsage,
)
from turnmix.rendering.arguments import UnreadableJsonError, read_whole_json, require_usable
from turnmix.rendering.thinking import without_thinking

_CHAT = WireAnswer[WireChoice]
_LEVELS = 700
"""Of nesting in an answer: a call that nests too deeply for a student is still kept as text."""
CONTEXT_EXCEEDED = "the conversation no longer fits the model's context window"
GAVE_UP = (
    "error",
    "abort",
    "aborted",
    "cancelled",
    "blocklist",
    "content_filter",
    "content_filtered",
    "guardrail_intervened",
    "insufficient_system_resource",
    "prohibited_content",
    "recitation",
    "safety",
    "sensitive",
    "spii",
)
"""Finish reasons of a server that gave up: what came of the answer is not what the model would have said."""
CUT = (
    "length",
    "max_length",
    "max_output_tokens",
    "max_tokens",
    "model_context_window_exceeded",
    "model_length",
)
"""Finish reasons of an answer that reached its limit."""
ENDED = (
    *CUT,
    "stop",
    "tool_calls",
    "function_call",
    "eos",
    "eos_token",
    "stop_sequence",
    "end_turn",
    "tool_use",
)
"""Finish reasons of an answer that the model ended, or that reached its limit."""


class MalformedAnswer(ValueError):
    """The body is no usable chat completion; `cause` counts it."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


def request_seed(episode_seed: int, state: State) -> int:
    """A seed for one request, from the episode's seed and the turn; a positive 31-bit integer."""
    turn = sum(message.role == "assistant" for message in state.messages)
    digest = hashlib.sha256(f"{episode_seed}:{turn}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def read_json(text: str | bytes) -> Any:
    """Strict JSON: no NaN, no infinities, lone surrogates replaced, so that it can be stored and sent again.

    Raises:
        ValueError: not such JSON.
    """
    return strict_json_value(text, levels=_LEVELS)


def read_body(body: bytes) -> Any:
    """As `read_json`, but a number that is not finite becomes null: some servers write log 0 as -Infinity."""
    try:
        return read_json(body)
    except ValueError:
        value = json_value(body, levels=_LEVELS)
    try:
        return read_json(json_text(value, ensure_ascii=False))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def listed_context(body: bytes, model: str) -> int | None:
    """How many tokens `model` reads, by a list of models as vLLM and its kin give it; None: it does not tell."""
    try:
        entries = [entry for entry in read_json(body)["data"] if entry["id"] == model]
        context = entries[0]["max_model_len"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return context if isinstance(context, int) else None


def read_first_choice(shape: type[WireAnswer[AnyChoice]], body: bytes) -> tuple[AnyChoice, WireUsage]:
    """The first completion in the body of an answer, and what the server counted.

    Raises:
        MalformedAnswer: the body is not JSON, has no choices, or the server itself says that it failed.
    """
    try:
        answer = shape.model_validate(read_body(body))
    except ValidationError as error:
        raise MalformedAnswer("malformed_answer", f"unexpected shape at {error.errors()[0]['loc']}") from None
    except ValueError as error:
        raise MalformedAnswer("invalid_json", f"the body is not JSON: {error}") from None
    if not answer.choices:
        raise MalformedAnswer("empty_choices", "the answer has no choices")
    choice = answer.choices[0]
    if (choice.finish_reason or "").lower() in GAVE_UP or (choice.finish_reason or "").endswith("_error"):
        raise MalformedAnswer("aborted", f"the server ended the answer with {choice.finish_reason!r}")
    return choice, answer.usage or WireUsage()


def read_answer(body: bytes) -> Action:
    """The action in the body of a chat completion. Its `stop_text` is what the server says.

    Raises:
        MalformedAnswer: as `read_first_choice`, or the answer is empty for a reason that no model has.
    """
    choice, usage = read_first_choice(_CHAT, body)
    message, parse_error = _read_choice(choice)
    return Action(
        message=message,
        parse_error=parse_error,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached,
        stop_text=choice.stop_text,
    )


def _read_choice(choice: WireChoice) -> tuple[Message, str | None]:
    text = _text(choice.message.content)
    content = without_thinking(text)
    wire_calls = choice.message.tool_calls or []
    if not wire_calls and choice.message.function_call is not None:
        wire_calls = [WireCall(function=choice.message.function_call)]
    was_cut = (choice.finish_reason or "").lower() in CUT
    try:
        calls = _read_calls(wire_calls)
    except ValueError as error:
        raw = [_written(call.function) for call in wire_calls]
        cut = " (the answer was cut at the limit of new tokens)" if was_cut else ""
        text = "\n".join(part for part in (content, *raw) if part)
        return Message(role="assistant", content=text), f"{error}{cut}"
    message = Message(role="assistant", content=content, tool_calls=calls)
    return message, None if calls else _missing_call(choice, content)


def _missing_call(choice: WireChoice, content: str) -> str | None:
    """What is wrong with an answer that calls no tool; None: it is text.

    Raises:
        MalformedAnswer: it is empty, and ended for a reason that no model has.
    """
    reason = choice.finish_reason or "stop"
    if reason.lower() in CUT:
        return "the answer was cut at the limit of new tokens, before a tool call was complete"
    if reason.lower() in ("tool_calls", "function_call") or "malformed" in reason.lower():
        return "the answer announced tool calls and held none that could be read"
    if not is_blank(content):
        return None
    if reason.lower() not in ENDED:
        raise MalformedAnswer("aborted", f"the answer is empty, and ended with {reason!r}")
    return "the answer holds neither text nor a tool call"


def _text(content: str | Sequence[dict[str, Any]] | None) -> str:
    """The text of an answer, less parts of other kinds, such as thinking."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = [part for part in content if part.get("type", "text") in ("text", "output_text")]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _read_calls(wire_calls: Sequence[WireCall]) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for wire in wire_calls:
        name = wire.function.name
        if not isinstance(name, str) or not name:
            raise ValueError("a tool call names no tool")
        arguments = wire.function.arguments
        if isinstance(arguments, str) and arguments.strip():
            try:
                arguments = read_whole_json(arguments)
            except UnreadableJsonError as error:
                raise ValueError(f"the arguments of {name} are not valid JSON: {error}") from None
        elif arguments is None or arguments == "":
            arguments = {}
        if not isinstance(arguments, dict):
            raise ValueError(f"the arguments of {name} are not a JSON object")
        try:
            # In the object of a call, as a student writes it: what it may not nest is not taught to it.
            require_usable({"arguments": arguments})
        except UnreadableJsonError as error:
            raise ValueError(f"the arguments of {name} cannot be used: {error}") from None
        calls.append(ToolCall(id=_free_id(wire.id, calls), name=name, arguments=arguments))
    return tuple(calls)


def _written(function: WireFunction) -> str:
    # Not by pydantic, which refuses to write half as deep as `read_json` reads.
    function_data = {"name": function.name, "arguments": function.arguments}
    return json_text(function_data, ensure_ascii=False, separators=(",", ":"))


def _free_id(proposed: Any, calls: Sequence[ToolCall]) -> str:
    """The server's id, or a made-up one where it is missing or taken."""
    taken = {call.id for call in calls}
    if isinstance(proposed, str) and proposed and proposed not in taken:
        return proposed
    return next(name for number in range(len(calls), 1 << 30) if (name := f"call_{number}") not in taken)
