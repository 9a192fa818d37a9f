"""When two messages are the same one: scaffolds keep a history as they like, and send it back in a shape of their own.

In: a message. Out: a digest of its normal form: the role, the text without white space around it, each call by its id,
its name and its arguments as JSON values, and the call that it answers.

>>> one = Message(role="user", content="Count. ")
>>> digest(one) == digest(Message(role="user", content="Count."))
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.core.message import Message, ToolSpecification
from turnmix.gateway.model_request import ModelRequest

_SIZE = 20


def digest(message: Message, *, with_ids: bool = True) -> bytes:
    """Of a message's normal form. Without ids: two answers that say and call the same are the same."""
    answered = (message.tool_call_id or "") if with_ids else ""
    calls = ""
    if message.tool_calls:
        ids = [call.id if with_ids else "" for call in message.tool_calls]
        told = [[call.name, _plain(call.arguments)] for call in message.tool_calls]
        calls = json_text([ids, told], sort_keys=True, separators=(",", ":"))
    head = f"{message.role} {len(answered)} {answered} {len(calls)} {calls}"
    text = f"{head} {message.content.strip()}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=_SIZE).digest()


def digest_behind(place: bytes, of_message: bytes) -> bytes:
    """Of a history: of what comes before its last message, and of that."""
    return hashlib.blake2b(place + of_message, digest_size=_SIZE).digest()


def tools_digest(tools: Sequence[ToolSpecification]) -> bytes:
    return _json_digest([tool.to_json() for tool in tools])


def wishes_digest(request: ModelRequest) -> bytes:
    """Of what a request wants beside its conversation and tools: another answer where it differs."""
    return _json_digest([request.form.to_json(), dict(request.sampling or {})])


def _json_digest(value: Any) -> bytes:
    text = json_text(_plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_SIZE).digest()


def _plain(value: Any) -> Any:
    """A JSON value in which equal numbers are written alike: a scaffold in JavaScript makes 1 of 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value
