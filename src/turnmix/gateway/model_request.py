"""What a scaffold asks of the model behind the gateway, and what it gets, whatever the dialect on the wire.

A dialect reads a body into a `ModelRequest` and writes a `ModelAnswer`; a session makes one of the other. Neither knows
the other's side. What is wrong with a request is a `RequestError`, which each dialect writes in its own shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from turnmix.core.answer_form import ANY_FORM, AnswerForm
from turnmix.core.message import Message, ToolSpecification

Fault = Literal[
    "invalid_request",
    "context_exceeded",
    "unauthorized",
    "forbidden",
    "not_found",
    "conflict",
    "too_large",
    "unavailable",
    "internal",
]
"""What was wrong: the request (400 to 413), the models behind (503), the gateway itself (500)."""
Finish = Literal["stop", "tool_calls", "length"]
"""Why an answer ended: by itself, or at a stop text; with calls of tools; or at the most tokens."""


class RequestError(Exception):
    """A request that gets no answer. The message names the parameter, what it is, and what would do."""

    def __init__(self, fault: Fault, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.fault: Fault = fault
        self.parameter = parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request, in canonical form."""

    model: str
    """As the scaffold calls it; the answer repeats it."""
    messages: tuple[Message, ...]
    """The whole history, as the scaffold has it. Ids of calls are those that the gateway gave out."""
    tools: tuple[ToolSpecification, ...] = ()
    """Those on offer; none where `tool_choice` is `none`."""
    form: AnswerForm = ANY_FORM
    sampling: Mapping[str, Any] | None = None
    """Parameters of sampling that the request names, such as `temperature` and `seed`: the recipe says how is sampled,
    but a request that differs in them asks for another answer."""
    wants_logprobs: bool = False
    previous: str | None = None
    """The id of the answer that this request goes on from, in place of a history (`previous_response_id`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToken:
    """A token of an answer with its log-probability under the model that sampled it."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """One answer. It never tells who acted."""

    id: str
    """Unique among all answers of the gateway: letters, digits and `_`."""
    model: str
    created: int
    """Seconds since 1970."""
    message: Message
    """Its calls have ids that are unique in the session: `call_` and letters and digits."""
    finish: Finish
    prompt_tokens: int
    """In the student's tokens, whoever acted; so is the next."""
    completion_tokens: int
    cached_tokens: int = 0
    stop_text: str | None = None
    """The stop text before which it ended; None: none, or whoever acted does not tell."""
    tokens: tuple[AnswerToken, ...] | None = None
    """Where they were wanted."""
