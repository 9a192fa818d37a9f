"""Text between an agent and bytes: what enters a sandbox is encoded, what an agent sees clean and bounded.

Nothing here raises, whatever the text or bytes are.

    >>> clean_terminal_output(b"\\x1b[31mred\\x1b[0m\\r\\n10%\\r100%\\n")
    'red\\n100%\\n'
    >>> truncate("abcdefghij", limit=4)
    'ab\\n[... 6 characters left out ...]\\nij'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_jsonable_python

from turnmix.core.json_text import json_text

NO_OUTPUT = "[No output.]"
ERROR_PREFIX = "ERROR: "
"""Begins every observation of a call that was refused; stuck detection looks for it."""

_ESCAPE_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC and other strings: window titles, links
    r"|\x1b[ -/]*[0-~]?"  # everything else that begins with ESC
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def error(text: str) -> str:
    """The observation of a call that was refused."""
    return ERROR_PREFIX + text


def is_error(observation: str) -> bool:
    return observation.startswith(ERROR_PREFIX)


def printable(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 file or request can hold."""
    return _SURROGATES.sub("\ufffd", text)


def decode(content: bytes) -> str:
    """Text that `encode` turns back into the same bytes, also where they are not UTF-8."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of `text`; surrogates that stand for no byte become `?`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def quoted(text: str, *, limit: int = 80) -> str:
    """`text` as it may stand in an error message."""
    return repr(text if len(text) <= limit else text[:limit] + "…")


def clean_terminal_output(output: bytes) -> str:
    """What a person would read on the terminal: no escape sequences, no control bytes, one kind of newline,
    and of a line overwritten by carriage returns only what was left standing."""
    return _clean(output.decode("utf-8", "replace"))


def observation_text(value: Any, *, limit: int | None) -> str:
    """What an agent reads of anything that a tool returned: text, else JSON, of at most `limit` characters and one line
    between. None: the tool's text is clean and bounded already.

    Raises:
        Exception: the value cannot be shown.

    >>> observation_text({"found": [1, None]}, limit=100), observation_text(b"\\xff", limit=100)
    ('{"found": [1, null]}', '\ufffd')
    """
    if isinstance(value, bytes | bytearray):
        text = bytes(value).decode("utf-8", "replace")
    elif isinstance(value, str):
        text = str(value)
    elif value is None:
        text = ""
    elif isinstance(value, Iterator):  # it may have no end
        text = repr(value)
    else:
        text = json_text(to_jsonable_python(value, fallback=str, bytes_mode="base64"), ensure_ascii=False)
    if limit is None:
        return printable(text) or NO_OUTPUT
    return printable(_clean(truncate(text, limit=limit))) or NO_OUTPUT


def _clean(text: str) -> str:
    text = _ESCAPE_SEQUENCES.sub("", text)
    if "\r" in text:
        lines = (line.rstrip("\r") for line in text.split("\n"))
        text = "\n".join(line[line.rfind("\r") + 1 :] for line in lines)
    return _CONTROL.sub("", text)


def truncate(head: str, *, tail: str = "", left_out: int = 0, limit: int) -> str:
    """At most `limit` characters of `head` + `tail` and one line that says how many are missing between.

    `left_out` characters are missing between `head` and `tail` already.
    """
    if not left_out:
        head = tail = head + tail
        if len(head) <= limit:
            return head
        left_out = -len(head)
    first, last = head[: limit // 2], tail[-(limit - limit // 2) :]
    left_out += len(head) + len(tail) - len(first) - len(last)
    return f"{first}\n[... {left_out} characters left out ...]\n{last}"
