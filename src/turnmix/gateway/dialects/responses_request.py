"""The shape of a request for OpenAI's Responses, as its vendor documents it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, NonNegativeInt, PositiveInt, Tag

from turnmix.gateway.dialects.chat_request import OWN
from turnmix.gateway.dialects.parameters import (
    NOT_STORED,
    SAMPLED_ALONE,
    SAMPLING,
    Parameters,
    SampledBody,
)
from turnmix.gateway.dialects.shape import OptionalText, PlainObject, Shape, String, type_of
from turnmix.gateway.dialects.tools import Custom, Function

PARAMETERS = Parameters(
    refused={
        "background": ((False,), "an answer is waited for: leave it out"),
        "conversation": ((), NOT_STORED),
        "prompt": ((), "the gateway stores no prompts: send the text as instructions"),
        "context_management": (
            ([],),
            "the gateway condenses no history: condense it in your scaffold, or leave it out",
        ),
        "moderation": ((), "nothing is moderated here: leave it out"),
        "top_logprobs": ((0,), SAMPLED_ALONE),
    },
    noted={**SAMPLING, "effort": "reasoning_effort", "text_verbosity": "verbosity", "max_output_tokens": "max_tokens"},
    ignored=frozenset(
        {
            "access_programs", "background_options", "image", "include", "max_tool_calls", "metadata",
            "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
            "service_tier", "store", "stream_options", "truncation", "user", "client_metadata",
        }
    ),
    foreign=OWN
    - {"model", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options", "top_logprobs", "moderation"}
    - SAMPLING.keys(),
)  # fmt: skip
LOGPROBS = "message.output_text.logprobs"


class MessageItem(Shape):
    role: Literal["user", "assistant", "system", "developer"]
    content: OptionalText
    id: String | None = None


class FunctionCallItem(Shape):
    type: Literal["function_call"]
    call_id: String
    name: String
    arguments: String | PlainObject | None = None
    id: String | None = None


class CustomCallItem(Shape):
    type: Literal["custom_tool_call"]
    call_id: String
    name: String
    input: String
    id: String | None = None


class OutputItem(Shape):
    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: String
    output: OptionalText


class ReasoningItem(Shape):
    """No part of a canonical history."""

    type: Literal["reasoning"]


def _item_type(item: Any) -> Any:
    return item.get("type", "message" if "role" in item else None) if isinstance(item, dict) else None


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[CustomCallItem, Tag("custom_tool_call")]
    | Annotated[OutputItem, Tag("function_call_output")]
    | Annotated[OutputItem, Tag("custom_tool_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_item_type),
]


class FunctionTool(Function):
    type: Literal["function"]


class CustomTool(Custom):
    type: Literal["custom"]


class NamedTool(Shape):
    type: Literal["function", "custom"]
    name: String


class AllowedToolsChoice(Shape):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"] = "auto"
    tools: list[NamedTool]


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag("text")]
    | Annotated[NamedTool, Tag("function")]
    | Annotated[NamedTool, Tag("custom")]
    | Annotated[AllowedToolsChoice, Tag("allowed_tools")],
    Discriminator(type_of),
]


class PlainFormat(Shape):
    type: Literal["text", "json_object"]


class SchemaFormat(Shape):
    type: Literal["json_schema"]
    name: String
    schema_: PlainObject = Field(alias="schema")
    description: String | None = None
    strict: bool | None = None


class TextConfig(Shape):
    format: (
        Annotated[
            Annotated[PlainFormat, Tag("text")]
            | Annotated[PlainFormat, Tag("json_object")]
            | Annotated[SchemaFormat, Tag("json_schema")],
            Discriminator(type_of),
        ]
        | None
    ) = None
    verbosity: String | None = None


class Reasoning(Shape):
    effort: String | None = None


def _items(given: Any) -> Any:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


class ResponsesBody(SampledBody):
    """What is read of a request. `Parameters` tell what becomes of the rest."""

    model: String
    input: Annotated[list[Item], BeforeValidator(_items)] = Field(default=[])
    instructions: String | None = None
    previous_response_id: String | None = None
    tools: list[Annotated[FunctionTool | CustomTool, Field(discriminator="type")]] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[String] | None = None
    top_logprobs: NonNegativeInt | None = None
    stream: bool | None = None
    max_output_tokens: PositiveInt | None = None

    @property
    def effort(self) -> str | None:
        return None if self.reasoning is None else self.reasoning.effort

    @property
    def text_verbosity(self) -> str | None:
        return None if self.text is None else self.text.verbosity
