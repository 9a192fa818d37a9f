"""In: the body of an answer of /completions. Out: a `Completion`.

Shapes are those of OpenAI's text completions, with `token_ids` as vLLM adds them when `return_token_ids` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, NonNegativeInt

from turnmix.policies.endpoint.wire import MalformedAnswer, read_first_choice
from turnmix.policies.endpoint.wire_answer import WireAnswer, WireEnd
from turnmix.policies.scoring import known_logprob
from turnmix.policies.server.engine import Completion


class WireLogprobs(BaseModel):
    """Of each new token, the one that was sampled."""

    token_logprobs: list[Any] | None = None


class WireTextChoice(WireEnd):
    """One completion of an answer."""

    text: str = ""
    token_ids: list[NonNegativeInt] | None = None
    logprobs: WireLogprobs | None = None


_COMPLETION = WireAnswer[WireTextChoice]


def read_completion(body: bytes, *, with_tokens: bool) -> Completion:
    """The one completion in the body of an answer.

    Raises:
        MalformedAnswer: it holds none, or (`with_tokens`) its token ids or log-probabilities are missing.
    """
    choice, usage = read_first_choice(_COMPLETION, body)
    token_ids = logprobs = None
    if with_tokens:
        token_ids, logprobs = _tokens(choice)
    return Completion(
        text=choice.text,
        token_ids=token_ids,
        logprobs=logprobs,
        was_cut=choice.finish_reason == "length",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached,
    )


def _tokens(choice: WireTextChoice) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    token_ids = choice.token_ids
    if token_ids is None:
        raise MalformedAnswer("no_token_ids", "the answer has no token_ids: return_token_ids is not honoured")
    listed: Sequence[Any] = (choice.logprobs and choice.logprobs.token_logprobs) or ()
    logprobs = tuple(map(known_logprob, listed))
    num_known = sum(value is not None for value in logprobs)
    if len(logprobs) != len(token_ids) or (token_ids and not num_known):
        raise MalformedAnswer(
            "no_logprobs", f"the answer has {num_known} log-probabilities for {len(token_ids)} tokens"
        )
    return tuple(token_ids), logprobs
