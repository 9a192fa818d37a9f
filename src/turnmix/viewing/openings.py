"""Where a line of turns begins, in words. In: a turn's opening. Out: what a person reads before the turn.

>>> from turnmix.core.opening import Opening
>>> opening_text(Opening(after=None))
'a line begins'
>>> opening_text(Opening(after=2))
'a line goes on from turn 3'
>>> opening_text(Opening(after=2, shared=4))
'a line begins with the first 4 messages of what turn 3 led to'
"""

from __future__ import annotations

from turnmix.core.opening import Opening
from turnmix.core.trajectory import Turn


def opening_text(opening: Opening) -> str:
    """How the state of a turn begins."""
    if opening.after is None or opening.shared == 0:
        begins = "a line begins"
    elif opening.shared is None:
        begins = f"a line goes on from turn {opening.after + 1}"
    else:
        messages = "message" if opening.shared == 1 else f"{opening.shared} messages"
        begins = f"a line begins with the first {messages} of what turn {opening.after + 1} led to"
    if opening.tools is None:
        return begins
    names = ", ".join(tool.name for tool in opening.tools)
    return f"{begins}; its tools: {names or 'none'}"


def repeated_text(turn: int) -> str:
    """What stands for an executed action in a history that a scaffold wrote anew."""
    return f"(what turn {turn + 1} did)"


def turn_marks(turn: Turn) -> tuple[str, ...]:
    """What is to be known of a turn beside who acted."""
    rejected = ("rejected",) if turn.is_rejected else ()
    repeated = (f"asked {turn.repeats + 1} times",) if turn.repeats else ()
    return (*rejected, *repeated)
