"""How far a session may go: the turns and the tokens that the recipe gives every trajectory.

In: the next turn that a request asks for. Out: a refusal, once there are as many as may be; and why.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.message import Message
from turnmix.core.trajectory import StopReason
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.session.line import GivenAnswer

CHARACTERS_PER_TOKEN = 4


class SessionBounds:
    """Of one session."""

    def __init__(self, *, max_turns: int, max_tokens: int) -> None:
        self._max_turns = max_turns
        self._max_tokens = max_tokens
        self.reached: StopReason | None = None
        """The bound that the last request was refused for."""

    def check(self, number: int, answer: GivenAnswer | None, new: Sequence[Message]) -> None:
        """May turn `number`, from 0, be taken? Its state is that of an `answer` before, if there was one, that answer,
        and `new` messages. Raises RequestError."""
        read = 0 if answer is None else answer.prompt_tokens + answer.completion_tokens
        num_tokens = read + sum(len(message.content) for message in new) / CHARACTERS_PER_TOKEN
        if number >= self._max_turns:
            self.reached = StopReason.max_turns
            told = f"this session has taken its {self._max_turns} turns (scaffold.max_turns)"
            # A status that clients do not try again.
            raise RequestError("forbidden", f"{told}: no further answer is given; end the task")
        if num_tokens >= self._max_tokens:
            self.reached = StopReason.max_tokens
            # In the vendors' words, by which scaffolds know that they may condense and go on.
            raise RequestError(
                "context_exceeded",
                f"prompt is too long: {num_tokens:.0f} tokens > {self._max_tokens} maximum. This model's maximum "
                f"context length is {self._max_tokens} tokens (scaffold.max_tokens): shorten the conversation",
            )
        self.reached = None
