"""Thinking that a server left in the text of an answer: cut, as what it gives as `reasoning_content` is never read.

In: the text of an answer. Out: what is left of it behind its leading thinking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
_BLOCK = re.compile(rf"^[ \t]*(?:{'|'.join(re.escape(opening) for opening, _ in MARKS)})", re.MULTILINE)
_QUOTE = "`'\""
_IS_NAMED_BEFORE = re.compile(r"""[ \t`'"(]\Z""")
_IS_NAMED_BEHIND = re.compile(r"""[ \t]+\S|[`'".,;:!?)]""")


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
    """`text` less the thinking that its prompt opened, so that it holds the closing mark alone.

    Prose that names the mark has space, quotes or a point beside it; where a block ends, text or a new line does:

    >>> without_opened_thinking("I look.</think>Now."), without_opened_thinking("It ends with </think>.")
    ('Now.', 'It ends with </think>.')
    """
    for start, rest in _lone_ends(text):
        if not _IS_NAMED_BEFORE.search(start) and not _IS_NAMED_BEHIND.match(rest):
            return rest.lstrip()
    return text


def holds_thinking(text: str) -> bool:
    """Whether a block begins on a line of its own, or a closing mark is left without the opening one before it; one
    in quotes is spoken of.

    >>> holds_thinking("Hm.</think>I look."), holds_thinking("It looks for `</think>` first.")
    (True, False)
    """
    return _BLOCK.search(text) is not None or any(
        not (start[-1:] in _QUOTE and rest[:1] in _QUOTE) for start, rest in _lone_ends(text)
    )


def _lone_ends(text: str) -> Iterator[tuple[str, str]]:
    """What stands before and behind each closing mark that no opening one precedes."""
    for opening, closing in MARKS:
        for match in re.finditer(re.escape(closing), text):
            start = text[: match.start()]
            if opening in start:
                break
            yield start, text[match.end() :]


def _opened_by(text: str) -> tuple[str, str] | None:
    start = text.lstrip()
    return next((marks for marks in MARKS if start.startswith(marks[0])), None)
