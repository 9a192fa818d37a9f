"""How long a run took, over all the processes that worked on it.

In: the names of stages, as they run, some beside others. Out: seconds by stage, from its begin to its end, and of the
run in all, in `clock.json`. A kill loses at most the seconds since the last `tick`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import write_atomically
from turnmix.core.json_text import json_text
from turnmix.store.record_files import read_clock

TICK_SECONDS = 1.0


class RunClock:
    """Counts from its making."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises UserError: the file is damaged."""
        self._path = path
        self._clock = clock
        stored: dict[str, Any] = {}
        if path.exists():
            stored = read_clock(path)
        self._earlier: float = stored.get("wall_seconds", 0.0)
        self._stages: dict[str, float] = stored.get("stages", {})
        self._started = self._written = clock()
        self._running: dict[str, float] = {}
        """When each stage under way began."""
        self._lock = threading.RLock()

    @property
    def wall_seconds(self) -> float:
        return self._earlier + self._clock() - self._started

    def stage_seconds(self, stage: str) -> float | None:
        """None: the stage was not run."""
        with self._lock:
            seconds, begun = self._stages.get(stage), self._running.get(stage)
            return seconds if begun is None else (seconds or 0.0) + self._clock() - begun

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside towards the stage `name`. Raises OSError: the clock cannot be written."""
        with self._lock:
            self._running[name] = self._clock()
        try:
            yield
        except BaseException:
            self._end_stage(name)
            # What ended the stage is told, not what it did to the clock.
            with contextlib.suppress(OSError):
                self.write()
            raise
        self._end_stage(name)
        self.write()

    def tick(self) -> None:
        """Write the clock down, if that was not just done. Raises OSError: it cannot be written."""
        if self._clock() - self._written >= TICK_SECONDS:
            self.write()

    def write(self) -> None:
        with self._lock:
            self._written = self._clock()
            names = dict.fromkeys((*self._stages, *self._running))
            stages = {name: round(self.stage_seconds(name) or 0.0, 3) for name in names}
            text = json_text({"wall_seconds": round(self.wall_seconds, 3), "stages": stages})
            write_atomically(self._path, text)

    def _end_stage(self, name: str) -> None:
        with self._lock:
            self._stages[name] = self.stage_seconds(name) or 0.0
            del self._running[name]
