"""The tasks of one split of a world that makes them by seed: each is made as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from turnmix.core.task import Task


class DrawnTasks(Sequence[Task]):
    """So many tasks."""

    def __init__(self, length: int, make: Callable[[int], Task]) -> None:
        """`make`: task i, from 0; the same each time."""
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._make(index % self._length)
