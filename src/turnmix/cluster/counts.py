"""What a run's workers did, by machine: figures for the run's records, and their logs in its directory.

In: figures, losses and pieces of logs. Out: counts, and `workers/<machine>-<number>.log`.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.core.own_file import open_own, open_own_directory

if TYPE_CHECKING:
    from turnmix.cluster.order import Whereabouts

FOLDER = "workers"
MOST_LOG_BYTES = 16 << 20
"""Of one worker's log that are kept."""


class NodeCounts:
    """Called in the thread of the workers, but for `taken`."""

    def __init__(self, logs: Path | None) -> None:
        """`logs`: the run's directory; None: no logs are kept."""
        self._logs = None if logs is None else logs / FOLDER
        self._num_logged: Counter[str] = Counter()
        self._figures: dict[str, Counter[str]] = {}
        self._losses: Counter[str] = Counter()
        self._num_unbegun = 0
        """Workers in a row that were lost before they were anywhere."""
        self.left_out: list[str] = []
        """Ray's ids of machines that get no worker any more."""

    def add(self, machine: str, figure: str) -> None:
        self._num_unbegun = 0
        self._count(machine)[figure] += 1

    def lose(self, place: Whereabouts | None, *, most: int) -> bool:
        """Was it one too many?"""
        if place is None:
            self._num_unbegun += 1
            return False
        self._count(place.name)["lost"] += 1
        self._losses[place.node] += 1
        is_too_many = self._losses[place.node] == most
        self.left_out += [place.node] if is_too_many else []
        return is_too_many

    def is_any_left(self, *, most: int) -> bool:
        """Is there a machine that may get a worker?"""
        import ray

        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        return self._num_unbegun < most and bool(alive - {*self.left_out})

    def taken(self) -> dict[str, dict[str, int]]:
        """What was counted since this was last asked, by machine."""
        figures, self._figures = self._figures, {}
        return {machine: dict(sorted(counts.items())) for machine, counts in sorted(figures.items())}

    def logged(self, worker: str) -> int:
        """Bytes of its log that came."""
        return self._num_logged[worker]

    def log(self, worker: str, machine: str, piece: bytes) -> None:
        """Keep what came of a worker's log."""
        before = self._num_logged[worker]
        self._num_logged[worker] += len(piece)
        if self._logs is not None and (kept := piece[: max(0, MOST_LOG_BYTES - before)]):
            folder = open_own_directory(self._logs, is_made=True)
            try:
                path = self._logs / f"{machine}-{worker.rpartition('-')[2]}.log"
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                with os.fdopen(open_own(path, flags, directory=folder), "ab") as file:
                    file.write(kept)
            finally:
                os.close(folder)

    def _count(self, machine: str) -> Counter[str]:
        return self._figures.setdefault(machine, Counter())


def told(figures: Any) -> str:
    """Figures by machine in a line.

    >>> told({"a-1": {"lost": 1, "rollouts": 4}, "b-2": {"rollouts": 4}})
    'a-1: 1 lost, 4 rollouts; b-2: 4 rollouts'
    """
    return "; ".join(
        f"{machine}: {', '.join(f'{count} {what}' for what, count in counts.items())}"
        for machine, counts in figures.items()
    )
