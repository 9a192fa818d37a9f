"""What no runtime holds a container to, looked at again and again while it runs.

In: a container. Out: nothing; a container that took too much is ended, which is its agent's doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.container.creation import TERMINALS
from turnmix.sandboxes.container.engine import Engine
from turnmix.sandboxes.container.line import Line
from turnmix.sandboxes.sandbox import Limits

DISK_SECONDS = 10.0
TERMINAL_SECONDS = 2.0
FILES_BESIDE = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv")
"""Of the machine, mounted into a container: not among what it wrote. One of them is looked at each time."""


async def watch_disk(engine: Engine, container: str, limits: Limits, exceed: Callable[[str], None]) -> None:
    """`exceed`: told the limit that the container went over."""
    clock = asyncio.get_running_loop().time
    pause = DISK_SECONDS
    beside = dict.fromkeys(FILES_BESIDE, 0)
    for path in itertools.cycle(FILES_BESIDE):
        await asyncio.sleep(pause)
        began = clock()
        with contextlib.suppress(SandboxError):  # a daemon that is busy is asked again
            beside[path] = await engine.call(engine.file_bytes, container, path)
            written = await engine.call(engine.written_bytes, container)
            if written + sum(beside.values()) > limits.disk_bytes:
                exceed("disk_bytes")
                return
        pause = max(DISK_SECONDS, 20 * (clock() - began))


async def watch_terminals(line: Line) -> None:
    """Where the runtime makes no terminals with a limit of their own."""
    with contextlib.suppress(SandboxError):  # it has ended, as all else in it will say
        while True:
            await asyncio.sleep(TERMINAL_SECONDS)
            await line.request(f"few_terminals {TERMINALS}")
