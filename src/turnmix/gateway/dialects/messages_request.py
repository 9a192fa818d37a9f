"""The shape of a request of Anthropic's messages, as its vendor documents it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from turnmix.gateway.dialects.chat_request import OWN
from turnmix.gateway.dialects.parameters import NO_SERVER, SAMPLING, Parameters, SampledBody
from turnmix.gateway.dialects.shape import OptionalText, PlainObject, Shape, String, text_of

PARAMETERS = Parameters(
    refused={
        "container": ((), NO_SERVER),
        "mcp_servers": (([],), NO_SERVER),
        "compaction": ((), "the gateway condenses no history: condense it in your scaffold, or leave it out"),
        "fallbacks": (([],), "the recipe says which models answer: leave it out"),
        "thread": ((), "the gateway stores no conversations: send the history"),
    },
    noted={**SAMPLING, "thinking": "thinking", "effort": "reasoning_effort"},
    ignored=frozenset(
        {
            "metadata", "service_tier", "inference_geo", "speed", "cache_control", "diagnostics", "betas",
            "billing_policy", "fallback_credit_token", "user_profile_id", "workspace_id",
        }
    ),
    foreign=OWN - {"model", "messages", "tools", "tool_choice", "stream"} - SAMPLING.keys(),
)  # fmt: skip
_OF_THOUGHTS = "clear_thinking"
_HEADER = "x-anthropic-billing-header:"
"""A block of Claude Code's that is meant for the vendor's accounts. It differs from request to request."""


def _system_text(system: Any) -> Any:
    if isinstance(system, list):
        system = [
            block
            for block in system
            if not (isinstance(block, dict) and str(block.get("text", "")).startswith(_HEADER))
        ]
    return "" if system is None else text_of(system)


class TextBlock(Shape):
    type: Literal["text"]
    text: String


class Thought(Shape):
    """No part of a canonical history."""

    type: Literal["thinking", "redacted_thinking"]


class ToolUse(Shape):
    type: Literal["tool_use"]
    id: String
    name: String
    input: PlainObject


class ToolResult(Shape):
    type: Literal["tool_result"]
    tool_use_id: String
    content: OptionalText = ""
    is_error: bool | None = None


def _blocks(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class UserMessage(Shape):
    role: Literal["user"]
    content: Annotated[
        list[Annotated[TextBlock | ToolResult, Field(discriminator="type")]], BeforeValidator(_blocks)
    ]


class AssistantMessage(Shape):
    role: Literal["assistant"]
    content: Annotated[
        list[Annotated[TextBlock | Thought | ToolUse, Field(discriminator="type")]], BeforeValidator(_blocks)
    ]


class SystemMessage(Shape):
    role: Literal["system"]
    content: OptionalText


class Tool(Shape):
    """A tool of the client's own, with the schema of its input."""

    type: Literal["custom"] | None = None
    name: String = Field(min_length=1)
    description: String | None = None
    input_schema: PlainObject


class FreeChoice(Shape):
    type: Literal["auto", "any", "none"]
    disable_parallel_tool_use: bool | None = None


class NamedChoice(Shape):
    type: Literal["tool"]
    name: String
    disable_parallel_tool_use: bool | None = None


class Format(Shape):
    type: Literal["json_schema"]
    schema_: PlainObject = Field(alias="schema")


class OutputConfig(Shape):
    effort: String | None = None
    format: Format | None = None


def _edits_thoughts_alone(management: dict[str, Any]) -> dict[str, Any]:
    for edit in management.get("edits") or ():
        if not isinstance(edit, dict) or not str(edit.get("type")).startswith(_OF_THOUGHTS):
            raise PydanticCustomError(
                "edits", "the gateway edits no history: edit it in your scaffold, or leave it out"
            )
    return management


class MessagesBody(SampledBody):
    """What is read of a request. `Parameters` tell what becomes of the rest."""

    model: String
    messages: list[Annotated[UserMessage | AssistantMessage | SystemMessage, Field(discriminator="role")]] = (
        Field(min_length=1)
    )
    system: Annotated[String, BeforeValidator(_system_text)] = ""
    tools: list[Tool] | None = None
    tool_choice: Annotated[
        Annotated[FreeChoice, Tag("free")] | Annotated[NamedChoice, Tag("named")],
        Discriminator(lambda value: "named" if isinstance(value, dict) and value.get("type") == "tool" else "free"),
    ] | None = None  # fmt: skip
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    context_management: Annotated[PlainObject, AfterValidator(_edits_thoughts_alone)] | None = None
    stop_sequences: list[String] | None = None
    stream: bool | None = None
    thinking: PlainObject | None = None

    @property
    def effort(self) -> str | None:
        return None if self.output_config is None else self.output_config.effort
