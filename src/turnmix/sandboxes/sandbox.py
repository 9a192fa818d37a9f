"""The seam between an agent's tools and the isolated place where they run."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from turnmix.core.errors import SandboxError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one sandbox may use."""

    memory_bytes: int = 1 << 30
    """Total of all its processes, and (counted with them) of its files in memory."""
    processes: int = 64
    file_bytes: int = 64 << 20
    """Largest single file."""
    disk_bytes: int = 256 << 20
    """All files together."""
    wall_seconds: float = 1800.0
    """From start, less what is paused; then the sandbox is killed."""


class SandboxEnded(SandboxError):
    """The sandbox ended by what ran in it, as far as this process and the machine can tell.

    While an agent works in it, or a patch under test runs in it, that is the agent's doing: a failure that
    counts. Before that, as in the preparation of a task, it is a SandboxError like any other.
    """


class SandboxLimitExceeded(SandboxEnded):
    """The sandbox was killed for what its processes did.

    Commands alone, not the sandbox, are killed where that restores the limit; their output says so.
    """

    def __init__(self, limit: str) -> None:
        super().__init__(f"the sandbox was killed: it exceeded its limit {limit}")
        self.limit = limit
        """The field of `Limits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A command that has ended."""

    exit_code: int | None
    """None: killed at its time-out."""
    output: bytes
    """Standard output and standard error, interleaved, whole up to the caller's limit."""


class Terminal(Protocol):
    """An interactive shell on a pseudo-terminal inside the sandbox."""

    async def write(self, data: bytes) -> None:
        """Type `data`. b"\\x03" interrupts the foreground process."""

    async def read(self) -> bytes:
        """Wait for output and return what is there; b"" when the shell has ended."""
        ...

    async def close(self) -> None:
        """Kill the shell and everything it started."""


class Sandbox(Protocol):
    """One trajectory's isolated machine. All paths are absolute paths inside it.

    Every method raises SandboxError when the sandbox itself failed (did not start, died, exceeded its wall
    time), and SandboxEnded of these when it ended by what ran in it; what else the agent's commands do, however
    wrong, raises nothing.
    """

    async def start(self) -> None: ...

    async def run(
        self,
        command: str,
        *,
        working_directory: str = "/",
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float = 60.0,
        output_limit: int = 16 << 20,
    ) -> CommandResult:
        """Run `command` by /bin/sh in a fresh process; killed with its children at the time-out (seconds), or when
        this is cancelled. With a time-out of `math.inf` others run meanwhile."""
        ...

    async def open_terminal(
        self, *, working_directory: str, environment: Mapping[str, str] | None = None
    ) -> Terminal:
        """A persistent shell (bash where there is one, else sh): no echo, no line editing, empty prompts
        PS1, PS2 unless `environment` sets them."""
        ...

    async def read_file(self, path: str, *, limit: int = 16 << 20) -> bytes:
        """Whole content of a regular file.

        Raises:
            OSError: as the file system says (FileNotFoundError, IsADirectoryError, PermissionError, …);
                a file over `limit` bytes is OSError(errno.EFBIG).
        """
        ...

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a whole file, making its parent directories; a file that is there keeps its mode and names.

        Raises:
            OSError: as `read_file`, or there is no room; the file is then what it was before.
        """
        ...

    def pause_lifetime(self) -> None:
        """Stop counting `wall_seconds`: nobody works in it now. Safe to call twice, and before start."""

    def resume_lifetime(self) -> None:
        """Go on counting. Safe to call twice, and before start."""

    async def stop(self) -> None:
        """Kill everything in it and free it. Safe to call twice, and before start."""


@runtime_checkable
class ListeningSandbox(Protocol):
    """What a sandbox may offer beside: a port of its own loopback, by which what runs inside reaches this process, and
    nothing else outside."""

    async def listen(self) -> socket.socket:
        """A listening socket, owned by the caller. Raises SandboxError."""
        ...


@runtime_checkable
class TreeSandbox(Protocol):
    """What a sandbox may offer beside: to read a tree of files without a program inside."""

    async def read_tree(
        self, directory: str, *, first: Sequence[str], without: Sequence[str], limit: int
    ) -> dict[str, bytes]:
        """Regular files under `directory` by relative path: those in `first`, then all others, but for what has a
        name in `without`. What cannot be read, or lies beyond `limit` bytes, is left out; no link is followed.

        Raises:
            OSError: there is no such directory, or none that can be read.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """What a container's image says of its containers."""

    working_directory: str
    user: str
    """Empty: root."""
    entrypoint: tuple[str, ...]


@runtime_checkable
class ImageSandbox(Protocol):
    """What a sandbox that is a container may offer beside."""

    async def have_image(self) -> ImageSettings:
        """Make or fetch its image, unless it is here. To be called before `start`, which does it too.

        Raises:
            SandboxError: there is none.
        """
        ...
