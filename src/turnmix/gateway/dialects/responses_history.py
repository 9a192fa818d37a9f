"""The items of a Responses history. In: items. Out: messages.

An answer is several items there: a message, and each call by itself. Calls belong to the answer that their id names,
if it is one of the gateway's, also where results stand between them; else to the assistant's turn right before them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnmix.core.message import Message
from turnmix.gateway.dialects.history import History, SentCall
from turnmix.gateway.dialects.responses_request import (
    CustomCallItem,
    FunctionCallItem,
    Item,
    MessageItem,
    OutputItem,
)
from turnmix.gateway.dialects.tools import INPUT

_ITEM_ID = re.compile(r"(?:msg|fc|ctc)_(.+)_\d+")


def item_id(kind: str, answer: str, number: int) -> str:
    """The id of an item of an answer. `kind`: msg, fc or ctc.

    >>> item_id("fc", "12ab", 1)
    'fc_12ab_1'
    """
    return f"{kind}_{answer}_{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadItems:
    """What items come to."""

    history: History
    places: Mapping[str, int]
    """Of answers of the gateway's, by id."""
    last: str | None
    """The answer that the newest assistant message belongs to."""


def read_items(items: Sequence[Item], before: ReadItems | None) -> ReadItems:
    """The messages that the items say, behind those `before`."""
    history = History(None if before is None else before.history)
    places = {} if before is None else {**before.places}
    last = None if before is None else before.last
    for item in items:
        if isinstance(item, OutputItem):
            history.result(item.call_id, item.output)
        elif isinstance(item, MessageItem) and item.role != "assistant":
            history.say("user" if item.role == "user" else "system", item.content)
        elif isinstance(item, MessageItem | FunctionCallItem | CustomCallItem):
            found = _ITEM_ID.fullmatch(item.id or "")
            answer = None if found is None else found[1]
            if isinstance(item, MessageItem):
                history.answer(item.content, ())
            elif answer is not None and answer in places:
                history.extend_answer(places[answer], [_sent_call(item)])
                continue
            elif _is_assistant(history.messages) and (answer is None or last is None):
                history.extend_answer(len(history.messages) - 1, [_sent_call(item)])
                continue
            else:
                history.answer("", [_sent_call(item)])
            last = answer
            if answer is not None:
                places[answer] = len(history.messages) - 1
    return ReadItems(history=history, places=places, last=last)


def _is_assistant(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1].role == "assistant"


def _sent_call(item: FunctionCallItem | CustomCallItem) -> SentCall:
    if isinstance(item, CustomCallItem):
        return SentCall(item.call_id, item.name, {INPUT: item.input})
    return SentCall(item.call_id, item.name, item.arguments)
