"""Whether anything has run in the sandbox since it was last looked at. Runs inside the sandbox.

In: two numbers that the kernel keeps: the last process id that it gave away in here, and for how long a process has
run. Out: certainty that nothing has, or none. What does not run takes nothing, so it need not be looked at again.
"""

from __future__ import annotations

import os

from turnmix.sandboxes.inside.process_tree import Process

UNKNOWN = b""


class Stillness:
    def __init__(self) -> None:
        self._load = -1
        """A descriptor."""
        self._newest = UNKNOWN
        self._seen: dict[int, bytes] = {}
        self._now: dict[int, bytes] = {}

    def look(self) -> bool:
        """Whether nothing has run since the last look, of which `remember` has told."""
        newest = self._newest_process()
        times = {pid: _time_of(pid) for pid in self._seen}
        is_still = newest == self._newest != UNKNOWN and times == self._seen and UNKNOWN not in times.values()
        self._newest, self._now = newest, times
        return is_still

    def remember(self, processes: dict[int, Process]) -> None:
        """`processes` were looked at after the last `look`. Of one with threads the kernel tells the first one's time
        alone, and one that is new has no time from before it was looked at."""
        self._seen = {
            pid: self._now.get(pid, UNKNOWN) if process.threads == 1 else UNKNOWN
            for pid, process in processes.items()
        }

    def _newest_process(self) -> bytes:
        try:
            if self._load < 0:
                self._load = os.open("/proc/loadavg", os.O_RDONLY)
            return os.pread(self._load, 128, 0).split()[-1]
        except (OSError, IndexError):
            return UNKNOWN


def _time_of(pid: int) -> bytes:
    """What the kernel tells of how long a process has run and waited, and how often."""
    try:
        descriptor = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY)
    except OSError:
        return UNKNOWN
    try:
        return os.read(descriptor, 128)
    except OSError:
        return UNKNOWN
    finally:
        os.close(descriptor)
