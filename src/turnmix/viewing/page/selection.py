"""Which trajectories a report holds: all, or of very large runs a sample of each batch.

In: sets of trajectories. Out: ids of each set. A sample has each outcome in its proportion, and is the same each time.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.bounded_file import MEBIBYTE
from turnmix.store.append_log import TrajectoryLog
from turnmix.viewing.trajectory_choice import Row, fair_sample

MOST_BYTES = 48 * MEBIBYTE
"""Of stored lines, as they lie in the runs' files: a page of as much opens at once."""
_FEWEST = 4
"""Of a batch, however large the runs are."""


def selected(logs: Sequence[TrajectoryLog]) -> list[list[str]]:
    """The ids of each log, newest batches first."""
    whole = [[each for batch in log.batches[::-1] for each in log.ids_of(batch)] for log in logs]
    sizes = [log.path.stat().st_size for log in logs]
    if sum(sizes) <= MOST_BYTES:
        return whole
    # Of every batch the same number, such that all of them fit.
    batches = [len(log.ids_of(batch)) for log in logs for batch in log.batches]
    average = [size / max(len(log), 1) for log, size in zip(logs, sizes) for _ in log.batches]
    number = max(batches)
    while number > _FEWEST and _bytes(number, batches, average) > MOST_BYTES:
        number = max(_FEWEST, number * 9 // 10)
    return [_sample(log, number) for log in logs]


def _bytes(number: int, batches: Sequence[int], average: Sequence[float]) -> float:
    return sum(min(number, held) * size for held, size in zip(batches, average))


def _sample(log: TrajectoryLog, number: int) -> list[str]:
    found = []
    for batch in log.batches[::-1]:
        rows = [Row.of(trajectory) for trajectory in log.read(log.ids_of(batch))]
        found += [row.id for row in fair_sample(rows, number)]
    return found
