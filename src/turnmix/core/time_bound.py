"""Waiting for at most so many seconds. In: an awaitable. Out: what it returns, or that the time is over.

`asyncio.wait_for` begins a task for each thing that is waited for, which takes longer than many of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def within(seconds: float, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What `coroutine` returns. Raises asyncio.TimeoutError: the time is over, and it was cancelled."""
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(seconds):
            return await coroutine
    return await asyncio.wait_for(coroutine, seconds)
