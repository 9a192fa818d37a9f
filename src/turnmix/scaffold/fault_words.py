"""What a tool's failure is called: to the agent, without a word of this machine; to a person, with file and line.

In: what the tool raised. Out: one line each.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.core.plugins import plugin_fault
from turnmix.core.printable import printable_line
from turnmix.core.redaction import redacted
from turnmix.core.tool_fault import ToolFault

LONGEST_TOLD = 500
_PATH = re.compile(
    r"""
    (?P<quote>['"])(?P<quoted>(?:/|[A-Za-z]:\\)[^'"\n]*)(?P=quote)
    | (?<![\w/:.~-])(?P<plain>/[^\s'"`,;:()<>\[\]]+)
    """,
    re.VERBOSE,
)


class ToolTimeout(Exception):
    """A tool did not answer in time."""


def told_to_agent(failure: BaseException, *, arguments: Any, working_directory: str) -> str:
    """The first line of what went wrong. A path is told whole where the agent knows it: it wrote it, or it lies in the
    working directory; of others, which lie on the host, the last name is left.

    >>> told_to_agent(OSError("no '/home/me/key.txt', /testbed/a.py"), arguments={}, working_directory="/testbed")
    "OSError: no 'key.txt', /testbed/a.py"
    """
    text = next(iter(_message(failure).strip().splitlines()), "")
    if isinstance(failure, ToolTimeout):
        return redacted(text)
    known = ""
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        known = json_text(arguments, ensure_ascii=False)

    def shown(found: re.Match[str]) -> str:
        path = found["quoted"] or found["plain"]
        inside = f"{path}/".startswith(f"{working_directory.rstrip('/')}/") and ".." not in path
        told = path if inside or path in known else re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "/"
        return f"{found['quote']}{told}{found['quote']}" if found["quote"] else told

    line = printable_line(
        redacted(": ".join(part for part in (type(failure).__name__, _PATH.sub(shown, text)) if part))
    )
    return line if len(line) <= LONGEST_TOLD else f"{line[:LONGEST_TOLD]}…"


def fault_of(failure: BaseException, *, tool: str, kind: type) -> ToolFault:
    """As it is counted."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        told = plugin_fault(failure, name=name)
    except Exception:  # what was raised cannot even be printed
        told = f"({name}): {type(failure).__name__}"
    place, _, raised = redacted(told).partition(f"({name}): ")
    return ToolFault(tool=tool, place=printable_line(f"{place}({name})"), error=printable_line(raised))


def _message(failure: BaseException) -> str:
    try:
        return str(failure)
    except Exception:  # what was raised cannot even be printed
        return ""
