"""How long a sandbox lives: seconds count while it is worked in, not while a model is asked what to do next.

In: a number of seconds. Out: one call once they are used up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Lifetime:
    """Stands still until `resume`. Belongs to one event loop."""

    def __init__(self, seconds: float, *, on_end: Callable[[], None]) -> None:
        self._left = seconds
        self._on_end = on_end
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def resume(self) -> None:
        """Let seconds count. Safe to call twice."""
        if self._timer is None and not self._is_over:
            self._timer = asyncio.get_running_loop().call_later(self._left, self._end)

    def pause(self) -> None:
        """Let none count. Safe to call twice; also the way to give it up."""
        if self._timer is not None:
            self._left = max(0.0, self._timer.when() - asyncio.get_running_loop().time())
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._is_over = True
        self._on_end()
