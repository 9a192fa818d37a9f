"""Computing beside an event loop: what is long is done in a thread, and what is short in place.

A thread and the loop wait for each other whenever one of them runs Python: the way there and back takes longer than
short work does, the more so the busier the loop is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread_if(is_long: bool, compute: Callable[[], Result]) -> Result:
    """What `compute` returns, or raises."""
    return await asyncio.to_thread(compute) if is_long else compute()
