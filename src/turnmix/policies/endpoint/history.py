"""A conversation on the wire, with what its provider wants back.

In: messages, or the body of an answer. Out: the JSON of messages, or the provider's own fields of a turn.

Providers sign the thoughts behind a turn, or want them back whole (`reasoning_content`, `reasoning_details`,
`extra_content`): what is not OpenAI's is kept with the message and returned to the provider that sent it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from turnmix.core.json_text import json_text, json_value
from turnmix.core.message import Message, ProviderFields
from turnmix.policies.endpoint.wire import read_json

_READ = frozenset({"role", "content", "tool_calls", "function_call"})
_OUTPUT_ONLY = frozenset({"refusal", "annotations", "audio"})
"""Fields of OpenAI's that say something of an answer, and that a request may not hold."""
_LEVELS = 64
"""Of nesting in what a provider keeps with a turn: it is stored in the trajectory, and read back."""
_READ_OF_CALL = frozenset({"id", "type", "function", "index"})


def wire_messages(messages: Iterable[Message], *, provider: str) -> list[dict[str, Any]]:
    """Messages with JSON-string arguments, and call ids that are unique in the whole conversation.

    Ids of different policies may collide across turns, which some providers refuse; nine alphanumeric
    characters are what the strictest of them takes. A turn that came with fields of `provider` keeps its ids,
    which those fields may name. Beside calls an empty text is null.
    """
    wire: list[dict[str, Any]] = []
    open_calls: list[tuple[str, str]] = []
    taken: set[str] = set()
    num_calls = 0
    for message in messages:
        data = message.to_json()
        if message.role == "assistant":
            open_calls = []
            fields = message.provider_fields
            own = fields if fields is not None and fields.provider == provider else None
            for call, call_data in zip(message.tool_calls, data.get("tool_calls", ()), strict=True):
                is_kept = own is not None and call.id not in taken
                call_data["id"] = call.id if is_kept else f"call{num_calls:05d}"
                call_data["function"]["arguments"] = json_text(dict(call.arguments), ensure_ascii=False)
                taken.add(call_data["id"])
                open_calls.append((call.id, call_data["id"]))
                num_calls += 1
            if message.tool_calls and not message.content:
                data["content"] = None
            if own is not None:
                _return(own, data)
        answered = next((pair for pair in open_calls if pair[0] == message.tool_call_id), None)
        if answered is not None:
            open_calls.remove(answered)
            data["tool_call_id"] = answered[1]
        wire.append(data)
    return wire


def provider_fields(body: bytes, *, provider: str) -> ProviderFields | None:
    """The provider's own fields of the turn in the body of an answer; None: there are none."""
    try:
        message = read_json(body)["choices"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    of_message = _own(message, _READ | _OUTPUT_ONLY)
    of_calls = tuple(_own(call, _READ_OF_CALL) for call in message.get("tool_calls") or ())
    if not of_message and not any(of_calls):
        return None
    fields = ProviderFields(provider=provider, message=of_message, calls=of_calls)
    try:
        json_value(json_text(fields.to_json()), levels=_LEVELS)
    except ValueError:
        return None
    return fields


def _own(data: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in known and value not in (None, [], {})}


def _return(own: ProviderFields, data: dict[str, Any]) -> None:
    data.update(own.message)
    calls = data.get("tool_calls", ())
    # What could not be read as calls was kept as text: then there is no call to return a field with.
    if len(calls) == len(own.calls):
        for call, fields in zip(calls, own.calls, strict=True):
            call.update(fields)
