"""Thinking that a server left in the text of an answer: cut, as what it gives as `reasoning_content` is never read.

In: the text of an answer. Out: what is left of it behind its leading thinking.
"""

from __future__ import annotations

import re

MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
_QUOTE = "`'\""


def without_thinking(text: str) -> str:
    """`text` less the blocks of thinking that it begins with; one that is not closed is all of it.

    >>> without_thinking("<think>\\nHm.\\n</think>\\n\\nI look."), without_thinking("<think>\\nHm, a fi")
    ('I look.', '')
    >>> without_thinking("Hm.\\n</think>\\n\\nI look."), without_thinking("It looks for `</think>` first.")
    ('I look.', 'It looks for `</think>` first.')
    """
    while (opened := _opened_by(text)) is not None:
        opening, closing = opened
        _, mark, rest = text.lstrip()[len(opening) :].partition(closing)
        text = rest.lstrip() if mark else ""
    return without_opened_thinking(text)


def without_opened_thinking(text: str) -> str:
    """`text` less the thinking that its prompt opened, so that it holds the closing mark alone, at a line's end."""
    for opening, closing in MARKS:
        start, mark, rest = text.partition(closing)
        is_alone = mark and opening not in start and start.strip()
        if is_alone and re.match(r"[ \t]*(\r?\n|$|<tool_call>)", rest):
            return rest.lstrip()
        if mark and not start.strip():
            return rest.lstrip()
    return text


def holds_thinking(text: str) -> bool:
    """Whether a closing mark is left without the opening one before it, and is not quoted.

    >>> holds_thinking("Hm.</think>I look."), holds_thinking("It looks for `</think>` first.")
    (True, False)
    """
    for opening, closing in MARKS:
        start, mark, rest = text.partition(closing)
        if mark and opening not in start and not (start[-1:] in _QUOTE and rest[:1] in _QUOTE):
            return True
    return False


def _opened_by(text: str) -> tuple[str, str] | None:
    start = text.lstrip()
    return next((marks for marks in MARKS if start.startswith(marks[0])), None)
