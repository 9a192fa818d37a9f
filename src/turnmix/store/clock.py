"""How long a run took, over all the processes that worked on it.

In: the names of stages, as they run. Out: seconds by stage and in all, in `clock.json`. A kill loses at most
the seconds since the last `tick`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import write_atomically
from turnmix.core.json_text import json_text
from turnmix.store.records import read_clock

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
        self._stage: tuple[str, float] | None = None

    @property
    def wall_seconds(self) -> float:
        return self._earlier + self._clock() - self._started

    def stage_seconds(self, stage: str) -> float | None:
        """None: the stage was not run."""
        seconds = self._stages.get(stage)
        if self._stage is None or self._stage[0] != stage:
            return seconds
        return (seconds or 0.0) + self._clock() - self._stage[1]

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside towards the stage `name`. Raises OSError: the clock cannot be written."""
        self._stage = (name, self._clock())
        try:
            yield
        except BaseException:
            self._end_stage()
            # What ended the stage is told, not what it did to the clock.
            with contextlib.suppress(OSError):
                self.write()
            raise
        self._end_stage()
        self.write()

    def tick(self) -> None:
        """Write the clock down, if that was not just done. Raises OSError: it cannot be written."""
        if self._clock() - self._written >= TICK_SECONDS:
            self.write()

    def write(self) -> None:
        self._written = self._clock()
        names = [*self._stages, *([self._stage[0]] if self._stage else [])]
        stages = {name: round(self.stage_seconds(name) or 0.0, 3) for name in names}
        text = json_text({"wall_seconds": round(self.wall_seconds, 3), "stages": stages})
        write_atomically(self._path, text)

    def _end_stage(self) -> None:
        assert self._stage is not None
        self._stages[self._stage[0]] = self.stage_seconds(self._stage[0]) or 0.0
        self._stage = None
