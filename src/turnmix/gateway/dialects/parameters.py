"""Parameters of a request beside its history and tools, by what becomes of them.

In: the names that a dialect refuses, notes or leaves aside. Out: what goes into a `ModelRequest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import PositiveInt
from pydantic_core import PydanticCustomError

from turnmix.core.answer_form import PASSED_ON
from turnmix.gateway.dialects.shape import Body, PlainObject, String, plain, shown
from turnmix.gateway.model_request import RequestError

ONE_ANSWER = "one request has one answer, which is one turn: leave it out"
SAMPLED_ALONE = "the log-probability of the sampled token alone is known: leave it out"
NO_SERVER = "nothing runs on the gateway's side: leave it out, and give your tools as functions"
NOT_STORED = "the gateway stores no conversations: send the history, or previous_response_id"


SAMPLING: Mapping[str, str] = {
    name: name
    for name in (
        "temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "logit_bias", "reasoning_effort", "verbosity", "max_tokens",
    )
}  # fmt: skip


class SampledBody(Body):
    """The parameters of sampling, in the names of chat completions: other dialects' clients send them too."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: PlainObject | None = None
    reasoning_effort: String | None = None
    verbosity: String | None = None
    max_tokens: PositiveInt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a dialect does with each name that it knows and does not read as a part of the conversation."""

    refused: Mapping[str, tuple[Sequence[Any], str]]
    """Values that change nothing, beside null, and what is to be done about all others."""
    noted: Mapping[str, str]
    """Parameters of sampling, by the dialect's name: the name under which they are noted."""
    ignored: frozenset[str]
    """They change no answer."""
    foreign: frozenset[str] = frozenset()
    """They mean something in chat completions, in which an endpoint is asked, and nothing in this dialect."""

    def refuse(self, body: Mapping[str, Any]) -> None:
        """Raises RequestError: a parameter asks for what the gateway does not do."""
        for name in body:
            if name in self.foreign and body[name] is not None:
                told = f"{name}: {shown(body[name])}: a parameter of chat completions: leave it out"
                raise RequestError("invalid_request", told, parameter=name)
        for name, (harmless, fix) in self.refused.items():
            value = body.get(name)
            if value is not None and not any(
                value == each and type(value) is type(each) for each in harmless
            ):
                raise RequestError("invalid_request", f"{name}: {shown(value)}: {fix}", parameter=name)

    def sampling(self, body: Body) -> dict[str, Any] | None:
        """What the request names of sampling. Of two names for one thing the later in `noted` counts."""
        found = {
            noted: value for name, noted in self.noted.items() if (value := getattr(body, name)) is not None
        }
        return found or None

    def others(self, body: Body) -> dict[str, Any]:
        """Parameters that nobody here knows, for an endpoint. Raises RequestError: one of them is no JSON, or may say
        more than how is answered."""
        extra = body.model_extra or {}
        found = {
            name: value
            for name, value in extra.items()
            if value is not None and name not in self.ignored and name not in self.refused
        }
        for name, value in found.items():
            if name not in PASSED_ON:
                known = ", ".join(sorted(PASSED_ON))
                fix = f"no model is told of it: leave it out, or use one of {known}"
                raise RequestError("invalid_request", f"{name:.100}: {fix}", parameter=name)
            try:
                plain(value)
            except PydanticCustomError as error:
                fix = error.message()
                raise RequestError("invalid_request", f"{name}: {fix}", parameter=name) from None
        return found


def stop_texts(stop: str | Iterable[str] | None, *, name: str) -> tuple[str, ...]:
    """Texts before which an answer ends. Raises RequestError: one is empty."""
    texts = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in texts:
        raise RequestError("invalid_request", f"{name}: '': give texts that are not empty", parameter=name)
    return texts
