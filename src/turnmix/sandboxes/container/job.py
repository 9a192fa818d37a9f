"""A command under way in a container, and what marks its processes."""

from __future__ import annotations

import asyncio

NO_SHELL = 126
KILLED = 128 + 9


def job_mark(number: int) -> str:
    """What the processes of a command or terminal carry in their environment."""
    return f"SANDBOX_JOB={number}."


class Job:
    """A command under way."""

    def __init__(self, number: int, limit: int) -> None:
        self.number = number
        self.limit = limit
        self.output = bytearray()
        self.is_cut = False
        self.code: int | None = None
        self.changed = asyncio.Event()
