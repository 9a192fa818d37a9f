"""How many requests an endpoint is sent at one moment: fewer once answers take too long.

In: time-outs and answers. Out: places for requests, given in the order in which they are asked for. Without this an
endpoint that is too slow for all at once answers none: each request is given up, and sent again beside all the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType

SHRINKS, GROWS = 0.5, 0.1
"""With a time-out, to this share; with each answer, by this: a tenth more once all under way have answered."""


class CongestionWindow:
    """`async with window:` holds a place for one request."""

    def __init__(self, most: int, *, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._size = float(most)
        self._used = 0
        self._shrunk_at = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._has_room and not self._waiting:
            self._used += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self._give_back()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()

    def timed_out(self, *, sent_at: float) -> None:
        """A request that was sent at `sent_at` was given up."""
        if sent_at >= self._shrunk_at:  # else it was sent beside all those others, and says nothing new
            self._size = max(1.0, self._size * SHRINKS)
            self._shrunk_at = self._clock()

    def answered(self) -> None:
        self._size = min(float(self._most), self._size + GROWS)
        self._let_in()

    @property
    def _has_room(self) -> bool:
        return self._used < int(self._size)

    def _give_back(self) -> None:
        self._used -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._has_room:
            place = self._waiting.popleft()
            if not place.done():
                self._used += 1
                place.set_result(None)
