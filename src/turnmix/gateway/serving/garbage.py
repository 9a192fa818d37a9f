"""Python's cyclic garbage, collected while many wait for one event loop.

A whole collection looks at every object and stops everything: a tenth of a second where the libraries of a student are
loaded, and whoever asks then waits for it. What was there before the gateway is left out of it, and it comes once a
minute, not whenever there is a quarter more. Between two of them the youngest objects alone are looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

_SECONDS = 60.0
_YOUNG = 10_000
"""New objects until the youngest are looked at: one request makes a thousand, and lets most of them go."""
_NEVER = 1_000_000_000


@contextlib.asynccontextmanager
async def seldom_collected() -> AsyncIterator[None]:
    """While this is open; then everything is as it was."""
    before = gc.get_threshold()
    gc.freeze()
    if before[0]:  # else the process collects nothing by itself
        gc.set_threshold(_YOUNG, _NEVER, _NEVER)
    collecting = asyncio.create_task(_collect_now_and_then())
    try:
        yield
    finally:
        collecting.cancel()
        gc.set_threshold(*before)
        gc.unfreeze()


async def _collect_now_and_then() -> None:
    while True:
        await asyncio.sleep(_SECONDS)
        if gc.isenabled():
            gc.collect()
