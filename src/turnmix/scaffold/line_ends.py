r"""Line ends that an agent is not shown: where text with \n alone stands in a text that has \r\n as well.

    >>> text = "a\r\nb\nc\r\n"
    >>> [match.span() for match in matches(text, "a\nb")]
    [(0, 4)]
    >>> with_line_ends(text, (0, 4), "x\ny\nz")
    'x\r\ny\r\nz'

In: a file's text and what an agent wrote. Out: places in the text, and what to put there. A line end that the
agent wrote as \r\n stays as it is.
"""

from __future__ import annotations

import re

_LINE_END = re.compile(r"\r*\n")


def matches(text: str, part: str) -> list[re.Match[str]]:
    """Where `part` stands in `text`: exactly, if it names carriage returns; else whatever the line ends."""
    if "\r" in part and (found := list(re.finditer(re.escape(part), text))):
        return found
    lines = (re.escape(line) for line in _LINE_END.split(part))
    return list(re.finditer(r"\r*\n".join(lines), text))


def with_line_ends(text: str, place: tuple[int, int], new: str) -> str:
    """`new` for this place in `text`: each line ends as the one it replaces, or else as its neighbour does."""
    first, last = place
    ends = _LINE_END.findall(text, first, last) or [_neighbour(text, last)]
    number = 0

    def line_end(match: re.Match[str]) -> str:
        nonlocal number
        number += 1
        return match[0] if match[0] != "\n" else ends[min(number, len(ends)) - 1]

    return _LINE_END.sub(line_end, new)


def _neighbour(text: str, position: int) -> str:
    """How the line around `position` ends, or the one before it."""
    if following := _LINE_END.search(text, max(0, position)):
        return following[0]
    newline = text.rfind("\n", 0, position)
    return "\r\n" if newline > 0 and text[newline - 1] == "\r" else "\n"
