"""The shape of a chat completion's request, as OpenAI documents it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, NonNegativeInt, PositiveInt, Tag

from turnmix.gateway.dialects.parameters import (
    NO_SERVER,
    ONE_ANSWER,
    SAMPLED_ALONE,
    SAMPLING,
    Parameters,
    SampledBody,
)
from turnmix.gateway.dialects.shape import OptionalText, PlainObject, Shape, String, Text, type_of
from turnmix.gateway.dialects.tools import Custom, Function

PARAMETERS = Parameters(
    refused={
        "n": ((1,), ONE_ANSWER),
        "top_logprobs": ((0,), SAMPLED_ALONE),
        "modalities": ((["text"],), "the gateway answers in text alone: give ['text'], or leave it out"),
        "audio": ((), "the gateway answers in text alone: leave it out"),
        "prediction": ((), "an answer is not predicted here: leave it out"),
        "moderation": ((), "nothing is moderated here: leave it out"),
        "web_search_options": ((), NO_SERVER),
    },
    noted={**SAMPLING, "max_completion_tokens": "max_tokens"},
    ignored=frozenset(
        {
            "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
            "prompt_cache_options", "prompt_cache_retention",
        }
    ),
)  # fmt: skip


class FunctionCall(Shape):
    """A call of a function; its arguments are JSON in a text, as far as the scaffold has not read them."""

    name: String
    arguments: String | PlainObject | None = None


class CustomCall(Shape):
    name: String
    input: String


class SentFunctionCall(Shape):
    id: String
    type: Literal["function"] = "function"
    function: FunctionCall


class SentCustomCall(Shape):
    id: String
    type: Literal["custom"]
    custom: CustomCall


def _call_type(value: Any) -> Any:
    return value.get("type") or "function" if isinstance(value, dict) else None


SentToolCall = Annotated[
    Annotated[SentFunctionCall, Tag("function")] | Annotated[SentCustomCall, Tag("custom")],
    Discriminator(_call_type),
]


class SystemMessage(Shape):
    role: Literal["system", "developer"]
    content: Text


class UserMessage(Shape):
    role: Literal["user"]
    content: Text


class AssistantMessage(Shape):
    role: Literal["assistant"]
    content: OptionalText = ""
    refusal: String | None = None
    tool_calls: list[SentToolCall] | None = None
    function_call: FunctionCall | None = None


class ToolMessage(Shape):
    role: Literal["tool"]
    content: OptionalText
    tool_call_id: String


class FunctionMessage(Shape):
    """A result of an earlier day."""

    role: Literal["function"]
    content: OptionalText


ChatMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]


class FunctionTool(Shape):
    type: Literal["function"]
    function: Function


class CustomTool(Shape):
    type: Literal["custom"]
    custom: Custom


class Named(Shape):
    name: String


class FunctionChoice(Shape):
    type: Literal["function"]
    function: Named


class CustomChoice(Shape):
    type: Literal["custom"]
    custom: Named


class AllowedTools(Shape):
    mode: Literal["auto", "required"] = "auto"
    tools: list[Annotated[FunctionChoice | CustomChoice, Field(discriminator="type")]]


class AllowedToolsChoice(Shape):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag("text")]
    | Annotated[FunctionChoice, Tag("function")]
    | Annotated[CustomChoice, Tag("custom")]
    | Annotated[AllowedToolsChoice, Tag("allowed_tools")],
    Discriminator(type_of),
]
LegacyChoice = Annotated[
    Annotated[Literal["auto", "none"], Tag("text")] | Annotated[Named, Tag("name")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "name"),
]


class TextFormat(Shape):
    type: Literal["text"]


class ObjectFormat(Shape):
    type: Literal["json_object"]


class SchemaFormat(Shape):
    type: Literal["json_schema"]
    json_schema: PlainObject


class StreamOptions(Shape):
    include_usage: bool | None = None


class ChatBody(SampledBody):
    """What is read of a request. `Parameters` tell what becomes of the rest."""

    model: String
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[Annotated[FunctionTool | CustomTool, Field(discriminator="type")]] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: LegacyChoice | None = None
    response_format: (
        Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")] | None
    ) = None
    stop: Annotated[
        Annotated[String, Tag("text")] | Annotated[list[String], Tag("list")],
        Discriminator(lambda value: "text" if isinstance(value, str) else "list"),
    ] | None = None  # fmt: skip
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: NonNegativeInt | None = None
    max_completion_tokens: PositiveInt | None = None


OWN = frozenset({*ChatBody.model_fields, *PARAMETERS.refused})
"""Names that mean something in this dialect."""
