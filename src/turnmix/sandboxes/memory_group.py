"""A memory cgroup for one sandbox: the kernel counts all that its processes make it hold, and ends what is too much.

In: a limit. Out: a directory of the cgroup file system, beside those of other sandboxes, that is gone at the
sandbox's end; what a killed process left is removed by the next. Its name holds the process that made it.
All of this blocks: the kernel may take some milliseconds to move a process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.memory_place import PREFIX, Place, find_place

SUPERVISOR_BYTES = 16 << 20
"""What the sandbox's supervisor may hold beside the agent, and the watchdog before it looks again."""
TCP_SHARE = 8
"""Of version 1, which counts buffers of TCP apart."""
REMOVE_SECONDS = 5.0


@dataclass(slots=True)
class MemoryGroup:
    """One sandbox's group."""

    directory: str
    events: str
    """The path of the file that counts the processes that the kernel killed."""
    kills: int = 0

    def add(self, pid: int) -> None:
        """What it holds by now stays with the group that it comes from. Raises SandboxError."""
        try:
            _write(f"{self.directory}/cgroup.procs", str(pid))
        except ProcessLookupError:  # it has ended; whoever waits for it is told
            pass
        except OSError as error:
            raise SandboxError(f"the memory of a sandbox could not be limited: {error}") from error

    def has_killed(self) -> bool:
        """Whether the kernel has killed a process for the memory of all since this was last asked."""
        try:
            descriptor = os.open(self.events, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # there is no descriptor left now: the next one who asks is told
            return False
        try:
            fields = os.read(descriptor, 1024).split()
        finally:
            os.close(descriptor)
        kills = int(fields[fields.index(b"oom_kill") + 1]) if b"oom_kill" in fields else 0
        has_killed, self.kills = kills > self.kills, kills
        return has_killed

    def remove(self) -> None:
        """Processes that were killed may take a moment to go."""
        deadline = time.monotonic() + REMOVE_SECONDS
        while time.monotonic() < deadline:
            try:
                return os.rmdir(self.directory)
            except FileNotFoundError:
                return None
            except OSError:
                time.sleep(0.02)
        return None  # the next run tries again


def make_memory_group(memory_bytes: int, processes: int) -> MemoryGroup | None:
    """None: no memory can be limited so on this machine. Raises SandboxError."""
    with _lock:
        place = _place(os.getpid())
    if place is None:
        return None
    try:
        return _make(place, memory_bytes, processes)
    except OSError as error:
        raise SandboxError(f"the memory of a sandbox could not be limited: {error}") from error


def spare(pid: int) -> None:
    """Where this process may say so, the kernel does not kill `pid` when memory is short: what it killed for it may
    not have given its memory back before it looks for more to kill."""
    with contextlib.suppress(OSError):
        _write(f"/proc/{pid}/oom_score_adj", "-1000")


def group_threads() -> ThreadPoolExecutor:
    """What makes groups, moves processes into them, and removes them."""
    return _threads(os.getpid())


@lru_cache(maxsize=1)
def _threads(pid: int) -> ThreadPoolExecutor:
    """`pid`: this process, as a fork has none of its parent's threads."""
    return ThreadPoolExecutor(4, "turnmix-memory-group")


_lock = threading.Lock()


@lru_cache(maxsize=1)
def _place(pid: int) -> Place | None:
    """`pid`: this process, as a fork may be another user's."""
    place = find_place()
    if place is None:
        return None
    try:
        probe = _make(place, 1 << 30, 64)
        probe.remove()
    except OSError:
        return None
    remove_stale(place)
    return place


def remove_stale(place: Place) -> None:
    """Remove groups whose maker is gone. Another's that is just being made is not: it has a process."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place.directory):
            pid = name.removeprefix(PREFIX).partition("-")[0]
            if name.startswith(PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                with contextlib.suppress(OSError):
                    os.rmdir(f"{place.directory}/{name}")


def _make(place: Place, memory_bytes: int, processes: int) -> MemoryGroup:
    directory = f"{place.directory}/{PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    os.mkdir(directory)
    limit = memory_bytes + SUPERVISOR_BYTES
    try:
        if place.version == 1:
            _write(f"{directory}/memory.limit_in_bytes", str(limit))
            _write_if_there(f"{directory}/memory.memsw.limit_in_bytes", str(limit))
            _write_if_there(f"{directory}/memory.kmem.tcp.limit_in_bytes", str(limit // TCP_SHARE))
        else:
            _write(f"{directory}/memory.max", str(limit))
            _write_if_there(f"{directory}/memory.swap.max", "0")
            _write_if_there(f"{directory}/pids.max", str(processes + 1))
        events = "memory.oom_control" if place.version == 1 else "memory.events"
        return MemoryGroup(directory, f"{directory}/{events}")
    except OSError:
        os.rmdir(directory)
        raise


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _write_if_there(path: str, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        _write(path, text)
