"""How the tokens of states and actions are counted: in the student's, whoever acted, so that no number tells who did.

Whoever makes a session brings the counter, because only the student's own renderer knows.
"""

from __future__ import annotations

from typing import Any, Protocol

from turnmix.core.json_text import json_text
from turnmix.core.trajectory import Action, State
from turnmix.gateway.model_request import AnswerToken
from turnmix.gateway.session.bounds import CHARACTERS_PER_TOKEN


class TokenCounter(Protocol):
    """Counts in the student's tokens. It is called in threads."""

    def prompt(self, state: State) -> int:
        """Tokens of the prompt in `state`."""
        ...

    def answer(self, action: Action) -> int:
        """Tokens of an action, the one that ends it included."""
        ...

    def tokens(self, action: Action) -> tuple[AnswerToken, ...] | None:
        """Each token of an action with its log-probability; None: they are not known."""
        ...


class RoughTokenCounter:
    """Counts a quarter of the characters, where nobody knows the tokens of whoever acts."""

    def prompt(self, state: State) -> int:
        said = [*(message.to_json() for message in state.messages), *(tool.to_json() for tool in state.tools)]
        return _tokens(said)

    def answer(self, action: Action) -> int:
        return _tokens(action.message.to_json())

    def tokens(self, action: Action) -> tuple[AnswerToken, ...] | None:
        return None


def _tokens(value: Any) -> int:
    return max(1, len(json_text(value)) // CHARACTERS_PER_TOKEN)
