"""Waiting in an event loop for the end of a process, also where no descriptor is left to wait by.

In: a descriptor, or the pid of a child. Out: nothing, once it has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

LOOK_SECONDS = 0.01


async def wait_readable(descriptor: int) -> None:
    """Wait for something to read; of the descriptor of a process, for its end."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


async def child_end(pid: int) -> None:
    """Wait for the end of a child of this process. Whoever reaps it does so afterwards."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # none is left
        while not _has_ended(pid):  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(LOOK_SECONDS)
        return
    try:
        await wait_readable(descriptor)
    finally:
        os.close(descriptor)


def pid_of(descriptor: int) -> int:
    """The pid of a process, by its descriptor. Raises ProcessLookupError: it has ended."""
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        pid = next((int(line[4:]) for line in file if line.startswith("Pid:")), -1)
    if pid <= 0:
        raise ProcessLookupError(descriptor)
    return pid


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return True
