"""A sandbox made of Linux namespaces by bubblewrap.

In: limits. Out: a sandbox that sees a read-only system, one file system of its own in memory
(/testbed, /tmp, its home), its own processes, and no network. The agent is user 1000 inside. Outside that is
the user who runs this, or, where root runs this, a user id that nobody has: root then writes the user
namespace's mapping itself, which also works where the kernel denies user namespaces to others.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from turnmix.core.child_environment import child_environment
from turnmix.core.errors import SandboxError
from turnmix.core.json_text import json_value
from turnmix.sandboxes.listening import listen_inside
from turnmix.sandboxes.process_end import pid_of, wait_readable
from turnmix.sandboxes.python_environment import PythonEnvironment
from turnmix.sandboxes.sandbox import Limits
from turnmix.sandboxes.seccomp import seccomp_filter
from turnmix.sandboxes.supervised import SupervisedSandbox
from turnmix.sandboxes.supervisor_code import BOOTSTRAP, Interpreter

USER = 1000
WORKSPACE = "/testbed"
HOME = "/home/agent"
SHARED_MEMORY_BYTES = 64 << 20
DEFAULT_SOCKET_BYTES = 208 << 10
SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
SYSTEM_FILES = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types")
ACCOUNTS = {
    "passwd": f"root:x:0:0::/:/bin/sh\nagent:x:{USER}:{USER}::{HOME}:/bin/sh\nnobody:x:65534:65534::/:\n",
    "group": f"root:x:0:\nagent:x:{USER}:\ntty:x:5:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_starts = itertools.count()


class BubblewrapSandbox(SupervisedSandbox):
    """One trajectory's sandbox. `check_sandbox` says in advance whether this machine can make one."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        interpreter: Interpreter | None = None,
        python: PythonEnvironment | None = None,
        variables: Mapping[str, str] | None = None,
        shown: Sequence[PythonEnvironment] = (),
    ) -> None:
        """`python`: shown read-only, and what `python` means inside. `shown`: others, whose programs are found after
        all else. `variables`: set for every command."""
        super().__init__(limits, interpreter=interpreter)
        self._python = python
        self._shown = tuple(shown)
        self._variables = dict(variables or {})

    def _configuration(self) -> dict[str, Any]:
        path = "/usr/local/bin:/usr/bin:/bin"
        if self._interpreter.prefix is not None:
            path = f"{path}:{self._interpreter.prefix}/bin"
        path = ":".join([path, *(f"{environment.directory}/bin" for environment in self._shown)])
        variables = {
            "PATH": path,
            "HOME": HOME,
            "USER": "agent",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PAGER": "cat",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "GIT_AUTHOR_NAME": "agent",
            "GIT_AUTHOR_EMAIL": "agent@localhost",
            "GIT_COMMITTER_NAME": "agent",
            "GIT_COMMITTER_EMAIL": "agent@localhost",
            **(self._python.variables(path) if self._python is not None else {}),
            **({"TURNMIX_PYTHON": f"{self._shown[0].directory}/bin/python"} if self._shown else {}),
            **self._variables,
        }
        return {
            "root": b"",
            "user": USER,
            "has_users": bool(_spare_users()),
            "filter": seccomp_filter(),
            "socket_bytes": _socket_bytes(),
            "owned": (WORKSPACE.encode(), HOME.encode()),
            "environment": {name.encode(): value.encode() for name, value in variables.items()},
            "file_systems": ("/", "/dev/shm"),
        }

    async def _launch(
        self, socket_descriptor: int, diagnostics: int, until_over: contextlib.ExitStack
    ) -> tuple[subprocess.Popen[bytes], int]:
        spare_users = _spare_users()
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            # bwrap breaks off where nobody reads this, and leaves alive what it has started.
            information, information_end = _pipe(until_over, theirs)
            inherited = [information_end]
            arguments = ["--info-fd", str(information_end)]
            if spare_users:
                # Our end of what bwrap waits for, closed with nothing said, lets it go on, and fail.
                mapped, mapped_end = _pipe(theirs, ours)
                arguments += ["--userns-block-fd", str(mapped)]
                inherited.append(mapped)
            for option, content in _accounts():
                descriptor = _pipe_holding(content, theirs)
                inherited.append(descriptor)
                arguments += option.format(descriptor).split()
            command = [
                *self._command(becomes_user=bool(spare_users)),
                *arguments,
                self._interpreter.executable,
            ]
            process = self._process = subprocess.Popen(  # noqa: ASYNC220 (it waits for the exec alone)
                [*command, "-I", "-S", "-c", BOOTSTRAP],
                stdin=socket_descriptor,
                stdout=diagnostics,
                stderr=diagnostics,
                pass_fds=inherited,
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
            )
            theirs.close()
            pid = await _read_child_pid(information)
            if spare_users:
                start = (os.getpid() << 10) + next(_starts) % 1024
                _map_user(pid, spare_users[start % len(spare_users)])
                os.write(mapped_end, b"\n")
            return process, pid

    async def listen(self) -> socket.socket:
        """As the protocol says."""
        self._require_connection()
        if self._supervisor < 0:
            raise SandboxError("the sandbox was stopped")
        return await listen_inside(pid_of(self._supervisor))

    def _is_ended_from_outside(self, ending: os.waitid_result) -> bool:
        """Nothing inside can send bwrap's own process, which is outside, a signal."""
        return ending.si_code != os.CLD_EXITED

    def _command(self, *, becomes_user: bool) -> list[str]:
        limits = self.limits
        if (program := shutil.which("bwrap")) is None:
            raise SandboxError("bubblewrap (the program bwrap) is not installed")
        arguments = [
            program,
            "--unshare-all",
            "--unshare-user",
            "--die-with-parent",
            "--new-session",
            "--as-pid-1",
        ]
        arguments += ["--hostname", "sandbox", "--cap-drop", "ALL"]
        capabilities = ["CAP_SYS_RESOURCE", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"]  # given up in `confinement`
        if becomes_user:
            capabilities += ["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"]
        else:
            capabilities += ["CAP_SETFCAP"]  # who lacks it cannot give this user another number
            arguments += ["--uid", "0", "--gid", "0"]
        for capability in capabilities:
            arguments += ["--cap-add", capability]
        shared_memory = min(SHARED_MEMORY_BYTES, limits.disk_bytes // 4)
        arguments += [*_size(limits.disk_bytes - shared_memory), "--tmpfs", "/"]
        arguments += system_binds()
        arguments += ["--perms", "0755", "--dir", "/etc"]
        for name in SYSTEM_FILES:
            arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        if self._interpreter.prefix is not None:
            arguments += ["--ro-bind", self._interpreter.prefix, self._interpreter.prefix]
        environments = [*self._shown, *([self._python] if self._python is not None else [])]
        for directory in dict.fromkeys(bind for each in environments for bind in each.binds):
            for parent in [*PurePath(directory).parents][-2::-1]:  # bwrap itself makes them for root alone
                arguments += ["--perms", "1777" if str(parent) == "/tmp" else "0755", "--dir", str(parent)]
            arguments += ["--ro-bind", directory, directory]
        arguments += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        arguments += ["--perms", "1777", *_size(shared_memory), "--tmpfs", "/dev/shm"]
        arguments += ["--perms", "1777", "--dir", "/tmp"]
        for directory in (WORKSPACE, HOME):
            arguments += ["--perms", "0755", "--dir", directory]
        return [*arguments, "--chmod", "0555", "/etc", "--chmod", "0555", "/"]


def system_binds() -> list[str]:
    """The machine's programs, and nothing else of it: what is mounted elsewhere, such as under a container that ends
    at this moment, may be gone before `bwrap` has looked at it."""
    binds = ["--ro-bind", "/usr", "/usr"]
    for name in SYSTEM_LINKS:
        if os.path.islink(f"/{name}"):
            binds += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            binds += ["--ro-bind", f"/{name}", f"/{name}"]
    return binds


@functools.lru_cache
def _socket_bytes() -> int:
    """What one socket may hold that nobody has read yet."""
    sizes = [DEFAULT_SOCKET_BYTES]
    for name in ("rmem_default", "wmem_default"):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/sys/net/core/{name}") as file:
            sizes.append(int(file.read()))
    return max(sizes)


def _size(size: int) -> list[str]:
    return ["--size", str(size)] if _bubblewrap_sizes_file_systems() else []


@functools.lru_cache
def _bubblewrap_sizes_file_systems() -> bool:
    """Before version 0.7 there is no --size: the supervisor's watchdog alone then limits the files."""
    result = subprocess.run(
        ["bwrap", "--help"], capture_output=True, text=True, timeout=30, env=child_environment()
    )
    return "--size" in result.stdout + result.stderr


def _accounts() -> list[tuple[str, bytes]]:
    return [(f"--perms 0444 --file {{}} /etc/{name}", content.encode()) for name, content in ACCOUNTS.items()]


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """The two ends of a pipe, which the two close."""
    reader, writer = os.pipe()
    reading.callback(os.close, reader)
    writing.callback(os.close, writer)
    return reader, writer


def _pipe_holding(content: bytes, reading: contextlib.ExitStack) -> int:
    """The readable end of a pipe with `content`, which must fit into it, and nothing after it."""
    with contextlib.ExitStack() as writing:
        reader, writer = _pipe(reading, writing)
        os.write(writer, content)
    return reader


async def _read_child_pid(descriptor: int) -> int:
    text = b""
    while not text.rstrip().endswith(b"}"):
        await wait_readable(descriptor)
        part = os.read(descriptor, 4096)
        if not part:
            raise OSError("bwrap ended before it made the sandbox")
        text += part
    return int(json_value(text)["child-pid"])


def _spare_users() -> range:
    """User ids that nobody has and that this process can give away; none, unless it is root.

    Root of a container has a part of the ids alone, perhaps only its own: then it is an ordinary user.
    """
    return _spare_users_of(os.geteuid())


@functools.lru_cache
def _spare_users_of(user: int) -> range:
    if user != 0:
        return range(0)
    first, size = 0, 1 << 32
    for kind in ("uid", "gid"):
        with open(f"/proc/self/{kind}_map") as file:
            lines = [line.split() for line in file]
        inside, _, count = max(lines, key=lambda fields: int(fields[2]))
        first, size = max(first, int(inside)), min(size, int(count))
    return range(first + size // 4, first + size // 2)


def _map_user(pid: int, outside: int) -> None:
    """Give the namespace root, for bwrap to set it up, and one user that no other sandbox or process has."""
    for kind in ("uid", "gid"):
        with open(f"/proc/{pid}/{kind}_map", "w") as file:
            file.write(f"0 0 1\n{USER} {outside} 1\n")
