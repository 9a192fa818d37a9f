"""A command under way in a container, and what marks its processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from turnmix.sandboxes.container.shell_text import shell_word

NO_SHELL = 126
KILLED = 128 + 9


def job_mark(number: int) -> str:
    """What the processes of a command or terminal carry in their environment."""
    return f"SANDBOX_JOB={number}."


def job_request(directory: bytes, command: bytes, source: bytes, exports: bytes) -> Callable[[int], bytes]:
    """What the supervisor is sent, made of the command's number. `source`: the file that is its standard input."""

    def request(number: int) -> bytes:
        return b"job %d %s\n" % (number, b" ".join(map(shell_word, (directory, command, source, exports))))

    return request


class Job:
    """A command under way."""

    def __init__(self, number: int, limit: int) -> None:
        self.number = number
        self.limit = limit
        self.output = bytearray()
        self.is_cut = False
        self.code: int | None = None
        self.changed = asyncio.Event()
