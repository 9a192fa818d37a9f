"""How long a run took, over all the processes that worked on it.

In: the names of stages, as they run. Out: seconds by stage and in all, in `clock.json`. A kill loses at most
the seconds since the last `tick`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from turnmix.store.atomic import write_atomically

TICK_SECONDS = 1.0


class RunClock:
    """Counts from its making."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        stored: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"wall_seconds": 0.0, "stages": {}}
        )
        self._earlier: float = stored["wall_seconds"]
        self._stages: dict[str, float] = stored["stages"]
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
        """Count what runs inside towards the stage `name`."""
        self._stage = (name, self._clock())
        try:
            yield
        finally:
            self._stages[name] = self.stage_seconds(name) or 0.0
            self._stage = None
            self.write()

    def tick(self) -> None:
        """Write the clock down, if that was not just done."""
        if self._clock() - self._written >= TICK_SECONDS:
            self.write()

    def write(self) -> None:
        self._written = self._clock()
        names = [*self._stages, *([self._stage[0]] if self._stage else [])]
        stages = {name: round(self.stage_seconds(name) or 0.0, 3) for name in names}
        text = json.dumps({"wall_seconds": round(self.wall_seconds, 3), "stages": stages})
        write_atomically(self._path, text, is_forced=False)
