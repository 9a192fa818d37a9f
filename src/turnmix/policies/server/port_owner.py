"""Who listens on a port of this machine? Asked before a started server is sent anything: another process may have
taken the port that was meant for it, and would be given prompts and a key.

In: a port, and the process that a server was started as. Out: its listening sockets, or one line that says who holds
the port instead. It reads /proc; where there is none, no server is started.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnmix.core.errors import UserError

_PROC = Path("/proc")
_LISTENS = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One listening socket."""

    inode: int
    address: str

    @property
    def is_local(self) -> bool:
        """Can this machine alone reach it?"""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback


class PortGuard:
    """Lets requests through to a started server while all that listens on its port is its own, and local."""

    def __init__(self, port: int, *, root: int) -> None:
        """`root`: the process that the server was started as."""
        self._port = port
        self._root = root
        self._own: frozenset[Listener] = frozenset()

    def is_listened_to(self) -> bool:
        """Does anything listen on the port?"""
        return bool(listeners(self._port))

    def refusal(self) -> str | None:
        """Why nothing may be sent to the port now; None: nothing stands against it."""
        found = listeners(self._port)
        if not found:
            return f"nothing listens on port {self._port} now"
        if found == self._own:
            return None
        own = sockets_of(self._root)
        for listener in sorted(found, key=lambda each: each.inode):
            if listener.inode not in own:
                return f"port {self._port} is held by {holder_of(listener)}, not by the server that was started for it"
            if not listener.is_local:
                return f"the started server listens on {listener.address}, open to other machines"
        self._own = found
        return None


def check_can_start() -> None:
    """Raise UserError: this machine does not tell who listens on a port, so no server is started on it."""
    if not (_PROC / "net" / "tcp").is_file():
        raise UserError(
            "student.server: which process listens on a port cannot be told here (no /proc/net/tcp), and another one "
            "might be given prompts and keys: start the server yourself, and give student.server.endpoint"
        )


def listeners(port: int) -> frozenset[Listener]:
    """All sockets that listen on a port, at any address of this machine."""
    return frozenset(
        Listener(inode=int(fields[9]), address=_address(fields[1].rpartition(":")[0]))
        for name in ("tcp", "tcp6")
        for fields in _listening(_PROC / "net" / name)
        if int(fields[1].rpartition(":")[2], 16) == port
    )


def sockets_of(root: int) -> frozenset[int]:
    """The inodes of the sockets of a process and of all that it started, as far as this user may see them."""
    return frozenset(inode for process in _tree(root) for inode in _own_sockets(_PROC / str(process)))


def holder_of(listener: Listener) -> str:
    """The process that has a socket, as a person knows it; another user's cannot be seen."""
    for directory in _PROC.iterdir():
        if directory.name.isdigit() and listener.inode in _own_sockets(directory):
            with contextlib.suppress(OSError):
                return f"process {directory.name} ({(directory / 'comm').read_text().strip()!r})"
    return "a process of another user"


def _own_sockets(directory: Path) -> set[int]:
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in os.scandir(directory / "fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(descriptor.path)
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def _listening(path: Path) -> Iterator[list[str]]:
    """The lines of listening sockets, which the kernel writes before all others."""
    with contextlib.suppress(OSError), path.open() as file:
        next(file)
        for line in file:
            fields = line.split()
            if fields[3] != _LISTENS:
                return
            yield fields


def _address(text: str) -> str:
    """An address as the kernel writes it, in words of 32 bits in the order of this machine's bytes.

    >>> import sys
    >>> _address("0100007F" if sys.byteorder == "little" else "7F000001")
    '127.0.0.1'
    """
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def _tree(root: int) -> set[int]:
    """A process and its descendants."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir(_PROC)):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name of a program, in parentheses, may hold anything.
            stat = (_PROC / name / "stat").read_text(errors="replace")
            parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    found = {root}
    while True:
        further = {process for process, parent in parents.items() if parent in found} - found
        if not further:
            return found
        found |= further
