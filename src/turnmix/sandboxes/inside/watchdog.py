"""Limits that hold for a sandbox as a whole and that no rlimit can hold. Runs inside the sandbox.

Enters: a look at all processes and file systems, twenty times a second while something moves. Leaves: the
family of processes to kill, or the limit that killing processes cannot restore, which is the end of the
sandbox.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from turnmix.sandboxes.inside.process_tree import (
    Process,
    kill_family,
    leader_of,
    proportional_bytes,
    send_signal,
    snapshot,
)

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Container

INODE_BYTES = 1024
"""Kernel memory behind one file, however empty."""
SATURATED_SECONDS = 0.4
"""How long all process slots may be taken before the largest family loses them."""
SHORTEST, LONGEST = 0.05, 0.5


class LimitExceeded(Exception):
    """A limit that only the end of the sandbox restores; its argument is the limit's name."""


class Watchdog:
    """Times are seconds of the monotonic clock."""

    def __init__(self, limits: dict[str, int], file_systems: tuple[str, ...]) -> None:
        self.limits = limits
        self.file_systems = file_systems
        self.due = float("inf")
        self._interval = SHORTEST
        self._saturated_since = float("inf")
        self._last_seen: object = None

    def wake(self, now: float) -> None:
        """Something was started: look soon."""
        if self.file_systems:
            self._interval = SHORTEST
            self.due = min(self.due, now + SHORTEST)

    def look(self, now: float, leaders: Container[int], spared: Container[int]) -> tuple[int, bytes] | None:
        """Kill what exceeds a limit. Returns (its leader, which limit); the leaders in `spared` themselves
        live on when their children are what is too much.

        Raises LimitExceeded.
        """
        if now < self.due:
            return None
        processes = snapshot()
        file_bytes = self.used_file_bytes()
        seen = (
            len(processes),
            sum(process.resident_bytes for process in processes.values()) >> 20,
            file_bytes,
        )
        self._interval = SHORTEST if seen != self._last_seen else min(LONGEST, self._interval * 1.5)
        self._last_seen = seen
        self.due = now + self._interval if processes else float("inf")
        killed = self._memory(processes, file_bytes, leaders)
        if killed is not None:
            return killed, b"memory_bytes"
        if sum(process.threads for process in processes.values()) < self.limits["processes"]:
            self._saturated_since = float("inf")
            return None
        self._saturated_since = min(self._saturated_since, now)
        if now - self._saturated_since < SATURATED_SECONDS:
            return None
        return self.free_processes(leaders, spared), b"processes"

    def free_processes(self, leaders: Container[int], spared: Container[int]) -> int:
        """Kill the family with the most threads; its leader, or 0 for strays."""
        processes = snapshot()
        threads: dict[int, int] = {}
        for pid, process in processes.items():
            leader = leader_of(pid, processes, leaders)
            threads[leader] = threads.get(leader, 0) + process.threads
        largest = max(threads, key=lambda leader: threads[leader], default=0)
        own = processes[largest].threads if largest in processes else 0
        # A shell whose own threads fill the table (after `exec`) is no longer a shell to spare.
        kill_family(largest, leaders, spare_leader=largest in spared and own < self.limits["processes"] // 2)
        self._saturated_since = float("inf")
        return largest

    def used_file_bytes(self) -> int:
        """Bytes of all files. Raises LimitExceeded."""
        total = 0
        for path in self.file_systems:
            usage = os.statvfs(path)
            used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
            total += used + (usage.f_files - usage.f_ffree) * INODE_BYTES
        # The size of each file system holds the data; what is above comes of empty files, or of a bwrap too
        # old to size them.
        if total > self.limits["disk_bytes"] * 5 // 4:
            raise LimitExceeded("disk_bytes")
        return total

    def _memory(self, processes: dict[int, Process], file_bytes: int, leaders: Container[int]) -> int | None:
        allowed = self.limits["memory_bytes"] - file_bytes
        if sum(process.resident_bytes for process in processes.values()) <= allowed:
            return None
        exact = {pid: proportional_bytes(pid, process.resident_bytes) for pid, process in processes.items()}
        if sum(exact.values()) <= allowed:
            return None
        if allowed <= 0 or not exact:
            raise LimitExceeded("memory_bytes")
        biggest = max(exact, key=lambda pid: exact[pid])
        leader = leader_of(biggest, processes, leaders)
        send_signal(biggest, _signal.SIGKILL)
        self.due = 0.0  # one death may not be enough
        return leader
