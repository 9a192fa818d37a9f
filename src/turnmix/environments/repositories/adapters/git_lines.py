"""Lines as git has them: they end in a line feed, and in nothing else."""

from __future__ import annotations

import io


def git_lines(text: str) -> list[str]:
    r"""The lines of `text` with their ends. Form feeds and U+2028, at which `str.splitlines` splits too, are
    characters like any other.

    >>> git_lines("a\x0cb\r\nc\rd")
    ['a\x0cb\r\n', 'c\rd']
    """
    return list(io.StringIO(text, newline="\n"))
