"""How many sandboxes start at one moment.

A start takes a dozen descriptors for as long as it lasts. Some more than there are processors keep these busy; all at
once take as long together, and the first of them is there later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncIterator

STARTS_PER_PROCESSOR = 4
MOST_STARTS = 16
"""One event loop launches no more in the time that one takes."""
HELD = 2
"""Descriptors of this process that one sandbox holds: in namespaces, its line and its process; as a container, its line
and its agent's shell."""
STARTING = 6
"""… beyond those while it starts, and …"""
LAUNCHED = 12
"""… while it is launched, which one does after the other."""
_starts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def few_starts_at_once() -> AsyncIterator[None]:
    """Wait for a turn among the starts of this event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _starts:
        _starts[loop] = asyncio.Semaphore(starts_at_once())
    async with _starts[loop]:
        yield


def starts_at_once() -> int:
    """Sandboxes that start at one moment."""
    return min(MOST_STARTS, STARTS_PER_PROCESSOR * len(os.sched_getaffinity(0)))
