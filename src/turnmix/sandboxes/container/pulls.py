"""Images being fetched: few at one moment, and each by one thread, however many sandboxes wait for it.

In: an image's name and what fetches it. Out: the image, to all who wait. A fetch that has not begun is
given up with the last of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

PULLS = 3
"""Images fetched at one moment; what else the daemon is asked has threads of its own."""


class Pulls:
    """Of one engine. It may be asked in several event loops."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(PULLS, "turnmix-container-pull")
        self._lock = threading.Lock()
        self._fetches: dict[str, _Fetch] = {}

    async def pull(self, image: str, fetch: Callable[[], None]) -> None:
        """Wait for `fetch` in a thread, or for one of the same image that is under way. Raises what it raises."""
        with self._lock:
            if image not in self._fetches:
                self._fetches[image] = _Fetch(self._threads.submit(fetch))
            joined = self._fetches[image]
            joined.waiting += 1
        try:
            # Whoever is cancelled leaves the others waiting.
            await asyncio.shield(asyncio.wrap_future(joined.result))
        finally:
            with self._lock:
                joined.waiting -= 1
                if not joined.waiting:
                    joined.result.cancel()
                    del self._fetches[image]


@dataclass(slots=True)
class _Fetch:
    result: Future[None]
    waiting: int = 0
