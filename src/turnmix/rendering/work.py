"""How much work rendering a state is. What was rendered a turn ago is known: it is mostly what has come since.

>>> from turnmix.core.message import Message
>>> asked = Message(role="user", content="x" * 300_000)
>>> is_long_work(State(messages=(asked,), tools=())), is_long_work(State(messages=(), tools=()))
(True, False)
"""

from __future__ import annotations

from turnmix.core.trajectory import State

_MOST_NEW = 16_384
"""Characters: some five milliseconds of a tokenizer."""
_MOST = 262_144
"""Of a whole conversation, whose turns are looked up one by one."""
MOST_TOKENS = 4_096
"""Of an answer that is read: a millisecond or two."""


def is_long_work(state: State) -> bool:
    """Would rendering it hold up an event loop that others wait for?"""
    total, new, is_new = 0, 0, True
    for message in reversed(state.messages):
        is_new = is_new and message.role != "assistant"
        total += len(message.content)
        new += len(message.content) * is_new
    return total > _MOST or new > _MOST_NEW
