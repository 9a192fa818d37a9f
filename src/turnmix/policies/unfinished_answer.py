"""What a student is told of an answer that did not end by itself: data, as a malformed call is."""

from __future__ import annotations

from dataclasses import replace

from turnmix.core.message import Message
from turnmix.core.trajectory import Action

_NO_ROOM = "The conversation fills the context of"
_CUT_OFF = "Your answer was cut off after"


def is_unfinished(action: Action) -> bool:
    """Did it end where there was no more room?"""
    return action.parse_error is not None and action.parse_error.startswith((_NO_ROOM, _CUT_OFF))


def no_room(context: int | None) -> Action:
    """The action of a student whose conversation fills all of its `context`."""
    return Action(
        message=Message(role="assistant", content=""),
        parse_error=f"{_NO_ROOM} {context} tokens: no answer fits.",
        token_ids=(),
    )


def cut_off(action: Action, *, limit: int) -> Action:
    """What was read of an answer that reached its limit of tokens; one whose call is whole stands as it is."""
    if action.message.tool_calls:
        return action
    cut = f"{_CUT_OFF} {limit} tokens, before its end. Write a shorter one."
    return replace(action, parse_error=f"{cut} {action.parse_error or ''}".strip())
