"""Who descends from whom among a sandbox's processes, and killing a whole family. Runs inside the sandbox.

In: /proc, which without a pid namespace shows the whole machine. Out: the processes of a leader (the shell of
one command or terminal), or strays: processes that left every leader's session and whose parents are gone. Both
descend from this process, to which the kernel gives those whose parents end; all others are somebody else's.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Container

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FREE_DESCRIPTORS = 256
DESCRIPTOR_BYTES = 4 << 10
"""Half of the pipe that a user gets who has many."""


class Process:
    __slots__ = ("parent", "resident_bytes", "session", "threads")

    def __init__(self, parent: int, session: int, threads: int, resident_bytes: int) -> None:
        self.parent = parent
        self.session = session
        self.threads = threads
        self.resident_bytes = resident_bytes


def snapshot() -> dict[int, Process]:
    """All processes that descend from this one, by pid; those of which nothing runs any more left out."""
    found: dict[int, Process] = {}
    for name in os.listdir("/proc"):  # in their order: a parent is read before its children
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                fields = file.read(4096).rpartition(b")")[2].split()
        except OSError:
            continue
        # A process whose first thread has ended is a zombie of which the others run on.
        if fields and (fields[0] not in (b"Z", b"X") or int(fields[17]) > 1):
            resident_bytes = int(fields[21]) * PAGE_BYTES
            found[int(name)] = Process(int(fields[1]), int(fields[3]), int(fields[17]), resident_bytes)
    return found if os.getpid() == 1 else _descendants(found, os.getpid())


def _descendants(found: dict[int, Process], ancestor: int) -> dict[int, Process]:
    children: dict[int, list[int]] = {}
    for pid, process in found.items():
        children.setdefault(process.parent, []).append(pid)
    kept: dict[int, Process] = {}
    parents = [ancestor]
    while parents:
        for pid in children.get(parents.pop(), ()):
            kept[pid] = found[pid]
            parents.append(pid)
    return kept


def leader_of(pid: int, processes: dict[int, Process], leaders: Container[int]) -> int:
    """The leader a process belongs to, by ancestry or session; 0 for a stray."""
    session = processes[pid].session
    for _ in range(len(processes) + 1):
        if pid in leaders:
            return pid
        if pid not in processes:
            break
        pid = processes[pid].parent
    return session if session in leaders else 0


def kill_family(
    leader: int, leaders: Container[int], *, spare_leader: bool = False, mark: bytes | None = None
) -> int:
    """Kill all that `leader` leads (0: all strays), and say how many; with `mark`, also the strays that carry
    this line in their environment: daemons that the leader started.

    All are stopped before any is killed, so that a fork bomb cannot outrun the killing.
    """
    stopped: set[int] = set()
    for _ in range(200):
        processes = snapshot()
        members = set()
        for pid in processes:
            found = leader_of(pid, processes, leaders)
            if found == leader or (found == 0 and mark is not None and carries(pid, mark)):
                members.add(pid)
        if spare_leader:
            members.discard(leader)
        if members <= stopped:
            break
        for pid in members - stopped:
            send_signal(pid, _signal.SIGSTOP)
        stopped |= members
    for pid in stopped:
        send_signal(pid, _signal.SIGKILL)
    return len(stopped)


def carries(pid: int, mark: bytes) -> bool:
    """Whether a process was started with `mark` in its environment. A process can hide it."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return mark in file.read(1 << 20).split(b"\0")
    except OSError:
        return False


def send_signal(pid: int, number: int) -> None:
    try:  # noqa: SIM105 (contextlib is slow to import)
        os.kill(pid, number)
    except OSError:  # it ended meanwhile
        pass


class UnseenMemory:
    """What a process makes the kernel hold beside its resident pages."""

    __slots__ = ("descriptors", "held_bytes")

    def __init__(self, held_bytes: int, descriptors: int) -> None:
        self.held_bytes = held_bytes
        self.descriptors = descriptors
        """Places in its table of open files."""


def unseen_memory(pid: int) -> UnseenMemory:
    """Page tables, what lies in the swap space, and buffers of pipes, which count as full."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            status = file.read(8192)
    except OSError:
        return UnseenMemory(0, 0)
    descriptors = _number(status, b"\nFDSize:")
    kilobytes = _number(status, b"\nVmPTE:") + _number(status, b"\nVmSwap:")
    pipe_bytes = max(0, descriptors - FREE_DESCRIPTORS) * DESCRIPTOR_BYTES
    return UnseenMemory((kilobytes << 10) + pipe_bytes, descriptors)


def _number(status: bytes, name: bytes) -> int:
    start = status.find(name)
    return int(status[start + len(name) :].split(None, 1)[0]) if start >= 0 else 0


def proportional_bytes(pid: int, resident_bytes: int) -> int:
    """Memory of a process with shared pages divided among their users; `resident_bytes` where it hides
    them."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            for line in file.read(8192).splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return resident_bytes
