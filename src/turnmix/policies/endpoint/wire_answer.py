"""The shapes of an answer's body, as loose as servers are: what no reader needs may be anything."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator


class WireFunction(BaseModel):
    """The function part of a call, as loose as servers are."""

    name: Any = None
    arguments: Any = None


class WireCall(BaseModel):
    """One tool call of an answer."""

    id: Any = None
    function: WireFunction


class WireMessage(BaseModel):
    """The assistant message of an answer. `reasoning_content` is not read: students would learn it."""

    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[WireCall] | None = None
    function_call: WireFunction | None = None
    """One call, as servers of an earlier day write it."""


class WireEnd(BaseModel):
    """Why a completion of an answer ended, where the server says so."""

    finish_reason: str | None = None


class WireChoice(WireEnd):
    """One completion of an answer."""

    message: WireMessage
    stop_reason: Any = None
    """In vLLM the stop text that ended it, or a token's id."""
    matched_stop: Any = None
    """In SGLang the same."""

    @property
    def stop_text(self) -> str | None:
        """The stop text that ended it, where the server says which."""
        return next((told for told in (self.stop_reason, self.matched_stop) if isinstance(told, str)), None)


_MOST_COUNTED = 1e15


def _count(given: Any) -> int | None:
    """A count of tokens; None: it is none. No answer is lost for it."""
    is_count = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < _MOST_COUNTED
    return int(given) if is_count else None


def _object(given: Any) -> Any:
    return given if isinstance(given, dict) else None


Count = Annotated[int | None, BeforeValidator(_count)]


class WireTokenDetails(BaseModel):
    """Of which tokens a count is made up."""

    cached_tokens: Count = None


class WireUsage(BaseModel):
    """Token counts, where the server gives them."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: Annotated[WireTokenDetails | None, BeforeValidator(_object)] = None
    prompt_cache_hit_tokens: Count = None
    """DeepSeek's name for what it had read before; Moonshot's is below."""
    cached_tokens: Count = None

    @property
    def cached(self) -> int | None:
        """Tokens of the prompt that the server had read before."""
        details = self.prompt_tokens_details
        listed = None if details is None else details.cached_tokens
        told = (listed, self.prompt_cache_hit_tokens, self.cached_tokens)
        return next((tokens for tokens in told if tokens is not None), None)


AnyChoice = TypeVar("AnyChoice", bound=WireEnd)


class WireAnswer(BaseModel, Generic[AnyChoice]):
    """The body of an answer, of chat completions or of text completions."""

    choices: list[AnyChoice] | None = None
    usage: Annotated[WireUsage | None, BeforeValidator(_object)] = None
