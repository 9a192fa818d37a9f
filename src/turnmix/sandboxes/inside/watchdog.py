"""Limits that hold for a sandbox as a whole and that no rlimit can hold. Runs inside the sandbox.

In: a look at all processes and file systems, twenty times a second while something runs. Out: the
family of processes to kill, or the limit that killing processes cannot restore, which is the end of the
sandbox.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from turnmix.sandboxes.inside.process_tree import (
    Process,
    UnseenMemory,
    kill_family,
    leader_of,
    proportional_bytes,
    send_signal,
    snapshot,
    unseen_memory,
)
from turnmix.sandboxes.inside.stillness import Stillness

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Container

INODE_BYTES = 1024
"""Kernel memory behind one file, however empty."""
FREE_SOCKETS = 64
"""So many count nothing."""
SATURATED_SECONDS = 0.4
"""How long all process slots may be taken before the largest family loses them."""
SHORTEST, LONGEST = 0.05, 0.5
STILL_SECONDS = 5.0
"""After so long all is looked at though nothing has run: the kernel itself may have given a process larger pages."""


class LimitExceeded(Exception):
    """A limit that only the end of the sandbox restores; its argument is the limit's name."""


class Watchdog:
    """Times are seconds of the monotonic clock."""

    def __init__(
        self, limits: dict[str, int], file_systems: tuple[str, ...], *, sockets: int, socket_bytes: int
    ) -> None:
        """`sockets`: a descriptor, as of `Confinement`; `socket_bytes`: what one of them may hold. The kernel does
        not tell how much it is."""
        self.limits = limits
        self.file_systems = file_systems
        self._sockets = sockets
        self._socket_bytes = socket_bytes
        self.due = float("inf")
        self._interval = SHORTEST
        self._saturated_since = float("inf")
        self._last_seen: object = None
        self._stillness = Stillness()
        self._still_until = 0.0

    def wake(self, now: float) -> None:
        """Something was started: look soon."""
        if self.file_systems:
            self._interval = SHORTEST
            self._still_until = 0.0
            self.due = min(self.due, now + SHORTEST)

    def look(
        self, now: float, leaders: Container[int], spared: Container[int]
    ) -> tuple[set[int], bytes] | None:
        """Kill what exceeds a limit. Returns (whose it was: leaders, which limit); the leaders in `spared`
        themselves live on when their children are what is too much.

        Raises LimitExceeded.
        """
        if now < self.due:
            return None
        if self._stillness.look() and now < self._still_until:
            self._interval = LONGEST
            self.due = now + LONGEST
            return None
        self._still_until = 0.0
        processes = snapshot()
        self._stillness.remember(processes)
        unseen = {pid: unseen_memory(pid) for pid in processes}
        shared_bytes = self.used_file_bytes() + self.socket_bytes()
        resident_bytes = sum(process.resident_bytes for process in processes.values())
        unseen_bytes = sum(memory.held_bytes for memory in unseen.values())
        seen = (len(processes), (resident_bytes + unseen_bytes) >> 20, shared_bytes)
        self._interval = SHORTEST if seen != self._last_seen else min(LONGEST, self._interval * 1.5)
        self._last_seen = seen
        self.due = now + self._interval if processes else float("inf")
        if resident_bytes + unseen_bytes + shared_bytes > self.limits["memory_bytes"]:
            losing = self._free_memory(processes, unseen, shared_bytes, leaders)
            if losing:
                return losing, b"memory_bytes"
        if sum(process.threads for process in processes.values()) < self.limits["processes"]:
            self._saturated_since = float("inf")
            self._still_until = now + STILL_SECONDS
            return None
        self._saturated_since = min(self._saturated_since, now)
        if now - self._saturated_since < SATURATED_SECONDS:
            return None
        return {self.free_processes(leaders, spared)}, b"processes"

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

    def socket_bytes(self) -> int:
        """What all sockets may hold at most, roughly."""
        if self._sockets < 0:
            return 0
        number = int(os.pread(self._sockets, 64, 0).split(None, 3)[2])
        return max(0, number - FREE_SOCKETS) * self._socket_bytes

    def _free_memory(
        self,
        processes: dict[int, Process],
        unseen: dict[int, UnseenMemory],
        shared_bytes: int,
        leaders: Container[int],
    ) -> set[int]:
        """Kill the largest processes where together they hold too much; their leaders."""
        exact = {
            pid: proportional_bytes(pid, process.resident_bytes) + unseen[pid].held_bytes
            for pid, process in processes.items()
        }
        excess = sum(exact.values()) + shared_bytes - self.limits["memory_bytes"]
        if excess <= 0:
            return set()
        socket_bytes = self.socket_bytes()
        if shared_bytes - socket_bytes >= self.limits["memory_bytes"] or not exact:
            raise LimitExceeded("memory_bytes")
        # Whose the sockets are is not told: they count for those with the most descriptors.
        descriptors = sum(memory.descriptors for memory in unseen.values()) or 1
        for pid, memory in unseen.items():
            exact[pid] += socket_bytes * memory.descriptors // descriptors
        losing = set()
        for pid in sorted(exact, key=lambda pid: exact[pid], reverse=True):
            if excess > 0:
                send_signal(pid, _signal.SIGKILL)
                losing.add(leader_of(pid, processes, leaders))
                excess -= exact[pid]
        self.due = 0.0  # memory that is shared is not free yet
        return losing
