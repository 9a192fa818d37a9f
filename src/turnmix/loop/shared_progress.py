"""Progress and metrics as several threads may tell them: one at a time, and steps in their order."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from turnmix.loop.parts import Metrics, Progress


class SharedProgress:
    """A `Progress` that is told one thing at a time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def begin(self, stage: str, iteration: int, *, total: int, done: int) -> None:
        with self._lock:
            self._progress.begin(stage, iteration, total=total, done=done)

    def advance(self, stage: str, iteration: int, *, done: int, note: str) -> None:
        with self._lock:
            self._progress.advance(stage, iteration, done=done, note=note)

    def end(self, stage: str, iteration: int, figures: dict[str, Any]) -> None:
        with self._lock:
            self._progress.end(stage, iteration, figures)


class SharedMetrics:
    """A `Metrics` that is told one thing at a time. Trackers take no step that lies before one they have, so what ends
    late, as the base student's figures may, stands at the newest."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._newest = 0

    def log(self, figures: Mapping[str, Any], *, step: int) -> None:
        with self._lock:
            self._newest = max(self._newest, step)
            self._metrics.log(figures, step=self._newest)
