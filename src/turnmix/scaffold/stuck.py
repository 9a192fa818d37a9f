"""Stuck detection (OpenHands' four patterns) as a pure function over what was done and seen.

In: the exchanges of a trajectory, oldest first. Out: which pattern its end shows, or None. Call ids do not
count, nor does the text beside a call: an agent with new reasons for the same call is stuck all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnmix.core.json_text import json_text
from turnmix.core.message import Message
from turnmix.core.trajectory import Action
from turnmix.scaffold.observation import is_error

HISTORY_NEEDED = 6
"""No pattern looks at more exchanges than these last ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One action and its observation, as far as stuck detection compares them."""

    action: str
    observation: str
    has_call: bool
    is_failure: bool
    """Every answer was a refusal. A command with a non-zero exit code is no failure in this sense."""

    @classmethod
    def of(cls, action: Action, observation: Sequence[Message]) -> Exchange:
        message = action.message
        has_call = bool(message.tool_calls)
        return cls(
            action=_calls_as_text(message) if has_call else message.content,
            observation="\0".join(answer.content for answer in observation),
            has_call=has_call,
            is_failure=all(is_error(answer.content) for answer in observation),
        )


def stuck_pattern(history: Sequence[Exchange]) -> str | None:
    """What the end of `history` repeats, in words; None while the agent is getting on."""
    if _is_repeated(history[-4:], 4):
        return "the same action with the same observation 4 times"
    last = history[-3:]
    if len(last) == 3 and len({exchange.action for exchange in last}) == 1:
        if all(exchange.has_call and exchange.is_failure for exchange in last):
            return "the same failing action 3 times"
        if not any(exchange.has_call for exchange in last):
            return "the same message without a call 3 times"
    if len(history) >= 6 and _is_repeated(history[-6::2], 3) and _is_repeated(history[-5::2], 3):
        return "two alternating actions 3 times"
    return None


def _is_repeated(exchanges: Sequence[Exchange], times: int) -> bool:
    return len(exchanges) == times and all(exchange == exchanges[0] for exchange in exchanges)


def _calls_as_text(message: Message) -> str:
    try:
        return json_text([[call.name, call.arguments] for call in message.tool_calls], sort_keys=True)
    except (TypeError, ValueError, RecursionError):  # nested too deep to print: compare what the model wrote
        return message.content
