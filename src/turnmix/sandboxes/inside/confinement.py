"""How the supervisor gives up what it does not need before it starts anything. Runs inside the sandbox.

In: the configuration. Out: this process without capabilities, without a way to get new ones,
invisible to a debugger of the same user, and under limits and a filter that its children inherit.

What the kernel counts for all sandboxes of this user together, or for the whole machine, each gets a small
part of: terminals, watches of files, signals that wait, buffers of TCP.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import ctypes
import os
import resource
import struct

from turnmix.sandboxes.inside.process_tree import kill_family

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

# The numbers are those of linux/prctl.h, linux/mount.h and linux/sched.h.
SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, SET_CHILD_SUBREAPER, SET_SECCOMP = 1, 4, 36, 22
SET_NO_NEW_PRIVILEGES, CAPABILITIES_AMBIENT, AMBIENT_CLEAR_ALL = 38, 47, 4
SECCOMP_FILTER = 2
READ_ONLY, NO_SETUID, NO_DEVICES, NO_PROGRAMS, REMOUNT, BIND, WITH_ALL_BELOW = 1, 2, 4, 8, 32, 4096, 16384
NEW_USER_NAMESPACE = 0x10000000
CAPABILITY_VERSION = 0x20080522

TERMINALS = 32
"""Of a sandbox. The machine has kernel.pty.max of them, by default 4096."""
SOCKET_BUFFER = 208 << 10
"""Bytes; what one TCP connection may hold in each direction. The machine has net.ipv4.tcp_mem for all."""
SANDBOXES = 64
"""Into as many parts are divided what the machine has for each user."""
WATCHES = {"instances": 16, "watches": 4096}
"""At most; and no more than one part of what the machine has."""
PENDING_SIGNALS = 1024
LOCKED_BYTES = 8 << 20


class Confinement:
    def __init__(self, configuration: dict[str, Any]) -> None:
        self.limits: dict[str, int] = configuration["limits"]
        self.root: bytes = configuration["root"]
        self.user: int | None = configuration["user"]
        """The unprivileged user to become; None: this process is it already."""
        self.has_users: bool = configuration["has_users"]
        """Whether that user is one of this user namespace's; else it is this process's own user by a new number."""
        self.owned: tuple[bytes, ...] = configuration["owned"]
        """Directories that become that user's."""
        self.filter: bytes = configuration["filter"]
        self.score = -1
        """A descriptor: how soon the kernel kills this process when memory is short."""
        self.sockets = -1
        """A descriptor: how many sockets there are; -1: those of the machine."""
        self._libc = ctypes.CDLL(None, use_errno=True)

    def enter(self) -> None:
        os.closerange(3, 256)
        os.chdir("/")
        os.umask(0o022)
        prctl = self._libc.prctl
        process_files = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
        self.score = os.open("self/oom_score_adj", os.O_RDWR, dir_fd=process_files)
        if not self.root:
            self.sockets = os.open("self/net/sockstat", os.O_RDONLY, dir_fd=process_files)
            self._settle_mounts()
            for name in ("tcp_rmem", "tcp_wmem"):
                _write(process_files, f"sys/net/ipv4/{name}", f"4096 {SOCKET_BUFFER} {SOCKET_BUFFER}")
            # A new user namespace would give the agent mounts of its own, outside the limit on files.
            namespaces = "0" if self.has_users else "1"  # this process's own
            _write(process_files, "sys/user/max_user_namespaces", namespaces)
            for name, most in WATCHES.items():
                with open(f"/proc/sys/fs/inotify/max_user_{name}") as file:
                    share = int(file.read()) // SANDBOXES
                _write(process_files, f"sys/user/max_inotify_{name}", str(max(2, min(share, most))))
            if self.user is not None:
                self._become(self.user, process_files)
            _check(prctl(CAPABILITIES_AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0))
            self._drop_capabilities()
            # Changing the user cleared what bwrap --die-with-parent had set.
            _check(prctl(SET_PARENT_DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0))
        os.close(process_files)
        _check(prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _check(prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        self._limit()
        if self.filter:
            self._install_filter()
        _check(prctl(SET_DUMPABLE, 0, 0, 0, 0))

    def leave(self) -> None:
        """Where no namespace does it: kill all descendants, remove the files."""
        if not self.root:
            return
        own = os.getpid()
        while kill_family(own, (own,), spare_leader=True):
            pass
        import shutil

        shutil.rmtree(self.root, ignore_errors=True)

    def _settle_mounts(self) -> None:
        """Few terminals; nothing to write under /proc, as for a process how soon the kernel kills it; and nothing
        to open of this process, which has the agent's user id."""
        options = b"newinstance,ptmxmode=0666,mode=620,max=%d" % TERMINALS
        self._mount(b"devpts", b"/dev/pts", b"devpts", REMOUNT | NO_SETUID | NO_PROGRAMS, options)
        # What is written here goes through the mount below, which is covered from now on.
        self._mount(b"/proc", b"/proc", None, BIND | WITH_ALL_BELOW, None)
        flags = REMOUNT | BIND | READ_ONLY | NO_SETUID | NO_DEVICES | NO_PROGRAMS
        self._mount(None, b"/proc", None, flags, None)
        flags = READ_ONLY | NO_SETUID | NO_DEVICES | NO_PROGRAMS
        self._mount(b"tmpfs", b"/proc/%d" % os.getpid(), b"tmpfs", flags, b"mode=0,nr_inodes=1")

    def _mount(
        self, source: bytes | None, target: bytes, kind: bytes | None, flags: int, options: bytes | None
    ) -> None:
        _check(self._libc.mount(source, target, kind, ctypes.c_ulong(flags), options))

    def _become(self, user: int, process_files: int) -> None:
        if self.has_users:
            for directory in self.owned:  # git refuses a repository in a directory of another user's
                os.chown(directory, user, user)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            return
        _check(self._libc.unshare(NEW_USER_NAMESPACE))
        _write(process_files, "self/setgroups", "deny")
        for kind in ("uid", "gid"):
            _write(process_files, f"self/{kind}_map", f"{user} 0 1")

    def _drop_capabilities(self) -> None:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        _check(self._libc.capset(header, (ctypes.c_uint32 * 6)()))

    def _limit(self) -> None:
        limits = {
            # A machine's handler of core dumps, which 0 does not stop, stops at 1.
            resource.RLIMIT_CORE: 1,
            resource.RLIMIT_DATA: self.limits["memory_bytes"],
            resource.RLIMIT_FSIZE: self.limits["file_bytes"],
            resource.RLIMIT_NOFILE: 1024,
            resource.RLIMIT_SIGPENDING: PENDING_SIGNALS,
            resource.RLIMIT_MEMLOCK: LOCKED_BYTES,
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_RTPRIO: 0,
            resource.RLIMIT_NICE: 0,
        }
        # Before Linux 5.14 this counts all processes of the user, also those outside the sandbox.
        if not self.root and tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (5, 14):
            limits[resource.RLIMIT_NPROC] = self.limits["processes"] + 1
        for kind, wanted in limits.items():
            hard = resource.getrlimit(kind)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (value, value))

    def _install_filter(self) -> None:
        code = ctypes.create_string_buffer(self.filter, len(self.filter))
        program = struct.pack("HP", len(self.filter) // 8, ctypes.addressof(code))
        _check(self._libc.prctl(SET_SECCOMP, ctypes.c_ulong(SECCOMP_FILTER), program, 0, 0))


def _write(directory: int, path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY, dir_fd=directory)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
