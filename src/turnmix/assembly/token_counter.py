"""How many tokens states and actions are, in the student's own, whoever acted.

In: a student's renderer and tokenizer. Out: counts, and tokens with their log-probabilities. Safe to use in threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.gateway.model_request import AnswerToken
from turnmix.rendering.arguments import without_surrogates

if TYPE_CHECKING:
    from turnmix.rendering.renderer import Renderer

_ANY_STATE = State(messages=(Message(role="user", content=""),), tools=())


class StudentTokenCounter:
    """Counts in the tokens of one student."""

    def __init__(self, renderer: Renderer, tokenizer: Any) -> None:
        self._renderer = renderer
        self._tokenizer = tokenizer

    def prompt(self, state: State) -> int:
        """Of the prompt in `state`; of its bare text where the student's template shows no such history."""
        try:
            return len(self._renderer.prompt_array(state))
        except (UserError, ValueError, TypeError):
            return sum(self._of_text(message) for message in state.messages)

    def answer(self, action: Action) -> int:
        """As the student writes it; of its bare text where it cannot."""
        if action.token_ids is not None:
            return len(action.token_ids)
        try:
            return len(self._renderer.target_ids(_ANY_STATE, action))
        except (UserError, ValueError, TypeError):
            return self._of_text(action.message)

    def tokens(self, action: Action) -> tuple[AnswerToken, ...] | None:
        """Each with its log-probability; None: one of them is not known."""
        logprobs = [each for each in action.logprobs or () if each is not None]
        if action.token_ids is None or len(logprobs) != len(action.token_ids):
            return None
        texts = self._tokenizer.batch_decode([[token] for token in action.token_ids])
        return tuple(AnswerToken(text=text, logprob=logprob) for text, logprob in zip(texts, logprobs))

    def _of_text(self, message: Message) -> int:
        text = without_surrogates(json_text(message.to_json(), ensure_ascii=False))
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)
