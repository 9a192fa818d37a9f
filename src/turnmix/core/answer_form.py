"""What whoever asks for an answer wants of its form, beside the conversation and the tools.

In: what a scaffold's request says. Out: what an endpoint is told with the same state; a student in this process heeds
`stop` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnmix.core.field_check import tuple_of

PASSED_ON = frozenset(
    {
        "allowed_token_ids", "bad_words", "cache_prompt", "chat_template_kwargs", "ebnf", "enable_thinking",
        "guided_choice", "guided_grammar", "guided_json", "guided_regex", "include_reasoning", "json_schema",
        "length_penalty", "min_tokens", "reasoning", "reasoning_format", "regex", "safe_prompt", "separate_reasoning",
        "skip_special_tokens", "stop_token_ids", "structured_outputs", "thinking", "thinking_budget",
    }
)  # fmt: skip
"""Parameters beside OpenAI's that an endpoint is told as a scaffold gives them: they say how is answered. Others may
say which model answers, where, and by whose key, which is the recipe's matter: none is passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """Names and values are those of OpenAI's chat completions, whatever the dialect that asked."""

    tool_choice: str | Mapping[str, Any] | None = None
    """`auto`, `required`, or one tool; where it is `none`, the state offers no tools."""
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    """Texts before which the answer ends."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters, by name, for an endpoint: it is told those of `PASSED_ON`."""

    def __post_init__(self) -> None:
        """Raises ValueError: an answer cannot end before an empty text."""
        object.__setattr__(self, "stop", tuple_of(str, self.stop, field="AnswerForm.stop"))
        if "" in self.stop:
            raise ValueError("AnswerForm.stop: '': give texts that are not empty")

    def to_json(self) -> dict[str, Any]:
        """What is not left open."""
        data: dict[str, Any] = {
            name: value
            for name in ("tool_choice", "parallel_tool_calls", "response_format")
            if (value := getattr(self, name)) is not None
        }
        if self.stop:
            data["stop"] = list(self.stop)
        return {**data, **({"others": dict(self.others)} if self.others else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AnswerForm:
        return cls(
            tool_choice=data.get("tool_choice"),
            parallel_tool_calls=data.get("parallel_tool_calls"),
            response_format=data.get("response_format"),
            stop=tuple(data.get("stop", ())),
            others=data.get("others", {}),
        )


ANY_FORM = AnswerForm()
