"""Runs a server, and ends it with everything it started once whoever asked for it is gone.

In: how many descriptors it may have; a command; a standard input that stays open as long as the server is wanted,
which the kernel closes when the other end dies, however it dies. Out: the server's exit status. It needs nothing but
the standard library, because it is run as a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

GRACE_SECONDS = 5.0
_TICK_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(num_descriptors: int, command: list[str]) -> int:
    """Run `command` until it ends or standard input does. `num_descriptors`: so many it may have open at once, if it
    does not raise that itself."""
    stops: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: stops.append(received))
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ended, False)
    signal.signal(signal.SIGCHLD, lambda received, _: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # Orphans of the server come to this process, where they are found and ended.
    _set(_PR_SET_CHILD_SUBREAPER, 1)
    server = os.fork()
    if server == 0:
        _limit(num_descriptors)
        _become(command)
    status = None
    while status is None and not stops and not _is_unwanted(ended):
        status = _reap(server)
    if status is None:
        status = _ask_to_end(server)
    _end_all(server)
    return 0 if status is None else status


def _limit(num_descriptors: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (num_descriptors, hard))


def _become(command: list[str]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _set(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _is_unwanted(ended: int) -> bool:
    """Waits a moment, or until something happens. `ended`: a descriptor that can be read where a child has ended."""
    readable, _, _ = select.select([0, ended], [], [], _TICK_SECONDS)
    if ended in readable:
        os.read(ended, 4096)
    return 0 in readable and not os.read(0, 4096)


def _reap(server: int) -> int | None:
    """The server's exit status once it has ended; others that ended are forgotten."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == server:
                status = os.waitstatus_to_exitcode(ended[1])
    return status


def _ask_to_end(server: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    status = None
    while status is None and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS / 4)
        status = _reap(server)
    return status


def _end_all(server: int) -> None:
    """Kill children until none is left: on Linux the children of one that dies become this process's own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server, signal.SIGKILL)
    while True:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    if sys.platform != "linux":
        return []
    own = str(os.getpid())
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as stat:
            # The name of a program, in parentheses, may hold anything.
            if stat.read().rpartition(")")[2].split()[1] == own:
                found.append(int(name))
    return found


def _set(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]) & 0xFF)
