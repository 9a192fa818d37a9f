"""Text of an agent, or of this program, as a POSIX shell in a container reads it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping


def text_bytes(text: str) -> bytes:
    """Whatever text an agent wrote, also half a surrogate pair, as bytes."""
    return text.encode("utf-8", "surrogatepass")


def shell_word(text: bytes) -> bytes:
    r"""`text` as one word of the supervisor's shell, on one line.

    >>> print(shell_word(b"it's\ntwo").decode())
    'it'\''s'"$newline"'two'
    """
    return b"'" + text.replace(b"'", b"'\\''").replace(b"\n", b"'\"$newline\"'") + b"'"


def exports_of(environment: Mapping[str, str]) -> bytes:
    """The commands of a shell that set these variables. Raises ValueError: it cannot."""
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or "\0" in value:
            raise ValueError(f"{name!r} cannot be a variable of a shell, or its value holds a zero byte")
    return b"; ".join(
        b"export %s=%s" % (name.encode(), text_bytes(shlex.quote(value)))
        for name, value in environment.items()
    )
