"""Who is told of a run: whatever shows it, a terminal, a notebook, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from turnmix.loop.parts import Progress

Seconds = Callable[[str], float | None]
"""A stage's id -> how long it took; None: not known."""


class Reporter(Protocol):
    """Is told what a person wants to know while a run goes on. Any thread may tell."""

    def note(self, line: str) -> None:
        """One line about the recipe or the choice of a run, which one better knows of."""

    def say(self, line: str) -> None:
        """One line about what happens now."""

    def progress(self, *, seconds: Seconds) -> AbstractContextManager[Progress]:
        """Who is told how far the run is, inside the context. `seconds` knows how long a stage took."""
        ...


class QuietReporter:
    """Tells nobody."""

    def note(self, line: str) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    @contextmanager
    def progress(self, *, seconds: Seconds) -> Iterator[Progress]:
        yield _NoProgress()


class _NoProgress:
    def begin(self, stage: str, iteration: int, *, total: int, done: int) -> None:
        pass

    def advance(self, stage: str, iteration: int, *, done: int, note: str) -> None:
        pass

    def end(self, stage: str, iteration: int, figures: dict[str, Any]) -> None:
        pass
