"""Room for so many open trajectories, over all stages that run at one time.

In: cohorts that want to begin. Out: when they may. What is first takes room as it comes free; what runs beside it
takes only what is left: nothing while a cohort that is first may still begin.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from turnmix.core.errors import UserError


class Room:
    """Stages in several threads may share it."""

    def __init__(self, size: int) -> None:
        """Raises UserError: there is none."""
        if size < 1:
            raise UserError(f"concurrency must be 1 or more, not {size}")
        self._size = size
        self._lock = threading.Lock()
        self._open = 0
        self._admitting = 0
        """Of those that are first, how many have cohorts left to begin."""
        self._listeners: list[Callable[[], None]] = []

    def first(self) -> Place:
        return Place(self, is_first=True)

    def beside(self) -> Place:
        return Place(self, is_first=False)

    def take(self, number: int, *, is_first: bool) -> bool:
        """Take room for `number` trajectories; False: there is none yet. A cohort larger than all the room may begin
        where nothing is open."""
        with self._lock:
            has_room = self._open == 0 or self._open + number <= self._size
            is_taken = has_room and (is_first or not self._admitting)
            if is_taken:
                self._open += number
            return is_taken

    def give(self, number: int) -> None:
        self._change(opened=-number)

    def admit(self, number: int) -> None:
        """So many more of those that are first have cohorts left to begin."""
        self._change(admitting=number)

    @contextlib.contextmanager
    def telling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Inside, `listener` is called, in any thread, when there may be more room."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def _change(self, *, opened: int = 0, admitting: int = 0) -> None:
        with self._lock:
            self._open += opened
            self._admitting += admitting
            listeners = list(self._listeners)
        for listener in listeners:
            listener()


class Place:
    """One stage's way into a room."""

    def __init__(self, room: Room, *, is_first: bool) -> None:
        self._room = room
        self._is_first = is_first

    def take(self, number: int) -> bool:
        """As `Room.take`."""
        return self._room.take(number, is_first=self._is_first)

    def give(self, number: int) -> None:
        """A trajectory that had room has ended, or so many."""
        self._room.give(number)

    @contextlib.contextmanager
    def admitting(self, listener: Callable[[], None]) -> Iterator[None]:
        """Inside, cohorts are left to begin; `listener` is called, in any thread, when there may be more room."""
        if self._is_first:
            self._room.admit(1)
        try:
            with self._room.telling(listener):
                yield
        finally:
            if self._is_first:
                self._room.admit(-1)
