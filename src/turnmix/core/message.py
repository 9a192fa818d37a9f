"""Canonical messages: OpenAI-shaped, with tool arguments as objects, never as JSON strings.

>>> call = ToolCall(id="call_0", name="finish", arguments={"message": "done"})
>>> message = Message(role="assistant", content="", tool_calls=(call,))
>>> Message.from_json(message.to_json()) == message
True
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from turnmix.core.field_check import require, tuple_of

Role = Literal["system", "user", "assistant", "tool"]
_ROLES = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call of a tool by the agent."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    """Argument values by name, as JSON values. A wrong type is the tool's to refuse."""

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": dict(self.arguments)},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToolCall:
        function = data["function"]
        return cls(id=data["id"], name=function["name"], arguments=function["arguments"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFields:
    """What a provider sent with a turn of its own and may want back with it, such as signed thoughts. It is shown to
    nobody else, and no student learns it."""

    provider: str
    """Who sent it, by an endpoint and a model."""
    message: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[Mapping[str, Any], ...] = ()
    """Those of each call."""

    def to_json(self) -> dict[str, Any]:
        calls = [dict(call) for call in self.calls]
        return {"provider": self.provider, "message": dict(self.message), "calls": calls}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProviderFields:
        return cls(provider=data["provider"], message=data["message"], calls=tuple(data["calls"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """For role `tool`: the call that this answers."""
    token_ids: tuple[int, ...] | None = field(default=None, compare=False, repr=False)
    """The tokens as which a local policy sampled this turn. A later prompt repeats them where its template
    writes the same text. No part of equality, nor of JSON: the action that holds the message stores them."""
    provider_fields: ProviderFields | None = field(default=None, compare=False, repr=False)
    """What the provider of this turn may want back. No part of equality, nor of JSON, as above."""

    def __post_init__(self) -> None:
        """Raises ValueError: a field is of another kind than it must be."""
        if self.role not in _ROLES:
            raise ValueError(f"Message.role: {self.role!r:.100}: give one of {', '.join(_ROLES)}")
        require(str, self.content, field="Message.content")
        if self.tool_calls:
            object.__setattr__(
                self, "tool_calls", tuple_of(ToolCall, self.tool_calls, field="Message.tool_calls")
            )
        if self.tool_call_id is not None:
            require(str, self.tool_call_id, field="Message.tool_call_id")

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            data["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.tool_call_id is not None:
            data["tool_call_id"] = self.tool_call_id
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        return cls(
            role=data["role"],
            content=data["content"],
            tool_calls=tuple(ToolCall.from_json(call) for call in data.get("tool_calls", ())),
            tool_call_id=data.get("tool_call_id"),
        )


def is_blank(text: str) -> bool:
    """Whether nothing of a text is seen: it is space, or characters without width.

    >>> is_blank(" \\n\\u200b\\ufeff"), is_blank("\\u200b.")
    (True, False)
    """
    return not text.strip() or all(
        character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in text
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpecification:
    """What an agent is told of a tool; also the schema its calls are checked against."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """A JSON schema of type `object`."""

    def __post_init__(self) -> None:
        """Raises ValueError: a field is of another kind than it must be."""
        require(str, self.name, field="ToolSpecification.name")
        require(str, self.description, field="ToolSpecification.description")
        require(Mapping, self.parameters, field="ToolSpecification.parameters")

    def to_json(self) -> dict[str, Any]:
        """The shape chat templates and OpenAI-compatible endpoints take."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.parameters),
            },
        }
