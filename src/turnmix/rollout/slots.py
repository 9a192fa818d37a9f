"""Slots for open trajectories, shared by all stages that run at one time.

In: cohorts that want to begin. Out: when they may. The stage that is first takes slots as they come free; one that runs
beside it takes only what is left: nothing while a cohort of the first may still begin.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from turnmix.core.errors import UserError


class Slots:
    """Stages in several threads may share them."""

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

    def first(self) -> StageSlots:
        return StageSlots(self, is_first=True)

    def beside(self) -> StageSlots:
        return StageSlots(self, is_first=False)

    def take(self, number: int, *, is_first: bool) -> bool:
        """Take slots for `number` trajectories; False: not so many are free. A cohort larger than all of them may begin
        where nothing is open."""
        with self._lock:
            are_free = self._open == 0 or self._open + number <= self._size
            is_taken = are_free and (is_first or not self._admitting)
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
        """Inside, `listener` is called, in any thread, when more may be free."""
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


class StageSlots:
    """The slots as one stage takes and gives them."""

    def __init__(self, slots: Slots, *, is_first: bool) -> None:
        self._slots = slots
        self._is_first = is_first

    @property
    def is_first(self) -> bool:
        """Does it take slots before those that run beside it?"""
        return self._is_first

    def take(self, number: int) -> bool:
        """As `Slots.take`."""
        return self._slots.take(number, is_first=self._is_first)

    def give(self, number: int) -> None:
        """So many trajectories have ended."""
        self._slots.give(number)

    @contextlib.contextmanager
    def admitting(self, listener: Callable[[], None]) -> Iterator[None]:
        """Inside, cohorts are left to begin; `listener` is called, in any thread, when more may be free."""
        if self._is_first:
            self._slots.admit(1)
        try:
            with self._slots.telling(listener):
                yield
        finally:
            if self._is_first:
                self._slots.admit(-1)
