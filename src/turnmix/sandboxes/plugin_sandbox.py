"""A sandbox of the user's own, watched: what fails in it by mistake is told with its own file and line.

What it raises on purpose passes: a `SandboxError`, after which a trajectory is tried again, and an `OSError` of a file.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence

from turnmix.core.plugins import telling_faults
from turnmix.sandboxes.sandbox import CommandResult, ListeningSandbox, Sandbox, Terminal, TreeSandbox


class PluginSandbox:
    """`sandbox`, of the plugin `name`."""

    def __init__(self, sandbox: Sandbox, *, name: str) -> None:
        self._sandbox = sandbox
        self._plugin = name
        if isinstance(sandbox, TreeSandbox):
            # A protocol asks for what a sandbox has, which is known here alone.
            vars(self)["read_tree"] = self._read_tree
        if isinstance(sandbox, ListeningSandbox):
            vars(self)["listen"] = self._listen

    async def start(self) -> None:
        with telling_faults(self._plugin):
            await self._sandbox.start()

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
        with telling_faults(self._plugin):
            return await self._sandbox.run(
                command,
                working_directory=working_directory,
                environment=environment,
                stdin=stdin,
                timeout=timeout,
                output_limit=output_limit,
            )

    async def open_terminal(
        self, *, working_directory: str, environment: Mapping[str, str] | None = None
    ) -> Terminal:
        with telling_faults(self._plugin):
            terminal = await self._sandbox.open_terminal(
                working_directory=working_directory, environment=environment
            )
            return _PluginTerminal(terminal, name=self._plugin)

    async def read_file(self, path: str, *, limit: int = 16 << 20) -> bytes:
        with _telling_of_files(self._plugin):
            return await self._sandbox.read_file(path, limit=limit)

    async def write_file(self, path: str, content: bytes) -> None:
        with _telling_of_files(self._plugin):
            await self._sandbox.write_file(path, content)

    def pause_lifetime(self) -> None:
        with telling_faults(self._plugin):
            self._sandbox.pause_lifetime()

    def resume_lifetime(self) -> None:
        with telling_faults(self._plugin):
            self._sandbox.resume_lifetime()

    async def stop(self) -> None:
        with telling_faults(self._plugin):
            await self._sandbox.stop()

    async def _listen(self) -> socket.socket:
        assert isinstance(self._sandbox, ListeningSandbox)
        with telling_faults(self._plugin):
            return await self._sandbox.listen()

    async def _read_tree(
        self, directory: str, *, first: Sequence[str], without: Sequence[str], limit: int
    ) -> dict[str, bytes]:
        assert isinstance(self._sandbox, TreeSandbox)
        with _telling_of_files(self._plugin):
            return await self._sandbox.read_tree(directory, first=first, without=without, limit=limit)


class _PluginTerminal:
    def __init__(self, terminal: Terminal, *, name: str) -> None:
        self._terminal = terminal
        self._plugin = name

    async def write(self, data: bytes) -> None:
        with telling_faults(self._plugin):
            await self._terminal.write(data)

    async def read(self) -> bytes:
        with telling_faults(self._plugin):
            return await self._terminal.read()

    async def close(self) -> None:
        with telling_faults(self._plugin):
            await self._terminal.close()


@contextlib.contextmanager
def _telling_of_files(name: str) -> Iterator[None]:
    """As `telling_faults`, but what the file system says passes."""
    said: OSError | None = None
    with telling_faults(name):
        try:
            yield
        except OSError as error:
            said = error
    if said is not None:
        raise said
