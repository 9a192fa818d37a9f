"""How the supervisor gives up what it does not need before it starts anything. Runs inside the sandbox.

Enters: the configuration. Leaves: this process without capabilities, without a way to get new ones,
invisible to a debugger of the same user, and under limits that its children inherit.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import ctypes
import os
import resource

from turnmix.sandboxes.inside.process_tree import kill_family

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

# The numbers are those of linux/prctl.h.
SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, SET_CHILD_SUBREAPER = 1, 4, 36
SET_NO_NEW_PRIVILEGES, CAPABILITIES_AMBIENT, AMBIENT_CLEAR_ALL = 38, 47, 4


class Confinement:
    def __init__(self, configuration: dict[str, Any]) -> None:
        self.limits: dict[str, int] = configuration["limits"]
        self.root: bytes = configuration["root"]
        self.user: int | None = configuration["user"]
        """The unprivileged user to become; None: this process is it already."""
        self.owned: tuple[bytes, ...] = configuration["owned"]
        """Directories that become that user's."""

    def enter(self) -> None:
        os.closerange(3, 256)
        os.chdir("/")
        os.umask(0o022)
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("900")
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if not self.root:
            # A new user namespace would give the agent mounts of its own, outside the limit on files.
            with open("/proc/sys/user/max_user_namespaces", "w") as file:
                file.write("0")
            if self.user is not None:
                for directory in self.owned:  # git refuses a repository in a directory of another user's
                    os.chown(directory, self.user, self.user)
                os.setgroups([])
                os.setresgid(self.user, self.user, self.user)
                os.setresuid(self.user, self.user, self.user)
            _check(prctl(CAPABILITIES_AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0))
            # Changing the user cleared what bwrap --die-with-parent had set.
            _check(prctl(SET_PARENT_DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0))
        _check(prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _check(prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        self._limit()
        _check(prctl(SET_DUMPABLE, 0, 0, 0, 0))

    def _limit(self) -> None:
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_DATA: self.limits["memory_bytes"],
            resource.RLIMIT_FSIZE: self.limits["file_bytes"],
            resource.RLIMIT_NOFILE: 1024,
        }
        # Before Linux 5.14 this counts all processes of the user, also those outside the sandbox.
        if not self.root and tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (5, 14):
            limits[resource.RLIMIT_NPROC] = self.limits["processes"] + 1
        for kind, wanted in limits.items():
            hard = resource.getrlimit(kind)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (value, value))

    def leave(self) -> None:
        """Where no namespace does it: kill all descendants, remove the files."""
        if not self.root:
            return
        own = os.getpid()
        while kill_family(own, (own,), spare_leader=True):
            pass
        import shutil

        shutil.rmtree(self.root, ignore_errors=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
