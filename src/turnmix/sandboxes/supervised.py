"""What all sandboxes with a supervisor inside share: starting it, talking to it, killing it.

In: requests of the sandbox protocol. Out: their results. A subclass says how the supervisor is
launched.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from turnmix.core.errors import SandboxError
from turnmix.core.file_descriptors import shortage
from turnmix.sandboxes.connection import TERMINAL_LIMIT, Connection, SupervisedTerminal
from turnmix.sandboxes.inside.supervisor import TIMED_OUT
from turnmix.sandboxes.inside.tree import files_of
from turnmix.sandboxes.lifetime import Lifetime
from turnmix.sandboxes.memory_group import MemoryGroup, group_threads, make_memory_group, spare
from turnmix.sandboxes.process_end import child_end, wait_readable
from turnmix.sandboxes.sandbox import CommandResult, Limits, SandboxEnded, SandboxLimitExceeded
from turnmix.sandboxes.starts import few_starts_at_once
from turnmix.sandboxes.supervisor_code import Interpreter, find_interpreter, opening_message

START_SECONDS = 60.0
END_SECONDS = 10.0


class SupervisedSandbox(ABC):
    """The sandbox's processes live no longer than this process, and no longer than the thread that started
    it."""

    def __init__(self, limits: Limits | None = None, *, interpreter: Interpreter | None = None) -> None:
        self.limits = limits or Limits()
        self._interpreter = interpreter or find_interpreter()
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor = -1
        """A descriptor of the supervisor's process, which no other process can take the place of."""
        self._diagnostics = -1
        """A descriptor: what is told by whatever stands in the way of a start; then none."""
        self._group: MemoryGroup | None = None
        """What holds the supervisor and all that it starts; None where the machine has none."""
        self._lifetime: Lifetime | None = None

    @abstractmethod
    async def _launch(
        self, socket_descriptor: int, diagnostics: int, until_over: contextlib.ExitStack
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start BOOTSTRAP with the socket as its input. Returns the process, and the supervisor's pid once
        it is certain; raises SandboxError. `until_over`: holds what the process must find open until it is."""

    @abstractmethod
    def _configuration(self) -> dict[str, Any]:
        """What the supervisor is told, apart from the limits."""

    async def start(self) -> None:
        async with few_starts_at_once():
            until_over = contextlib.ExitStack()
            try:
                await self._start(until_over)
            except BaseException as error:
                reason = self._describe_end()
                await self.stop()
                if isinstance(error, (OSError, SandboxError, asyncio.TimeoutError)):
                    told = shortage(error) or f"{error!r} {reason}"
                    raise SandboxError(f"a sandbox did not start: {told}") from error
                raise
            finally:
                until_over.close()
        expired = SandboxLimitExceeded("wall_seconds")
        self._lifetime = Lifetime(self.limits.wall_seconds, on_end=functools.partial(self._kill, expired))
        self._lifetime.resume()

    async def _start(self, until_over: contextlib.ExitStack) -> None:
        """What it opens and has not closed when it raises, `stop` closes."""
        loop = asyncio.get_running_loop()
        launched: asyncio.Future[int] = loop.create_future()
        grouped = asyncio.ensure_future(self._group_supervisor(launched))
        try:
            supervisor = await self._connect(until_over)
            self._supervisor = os.pidfd_open(supervisor)
            launched.set_result(supervisor)
            limits = {name: getattr(self.limits, name) for name in Limits.__slots__ if name != "wall_seconds"}
            configuration = {**self._configuration(), "limits": limits}
            connection = self._require_connection()
            connection.send_raw(opening_message(self._interpreter, configuration))
            await asyncio.wait_for(self._until_ready(connection, grouped), START_SECONDS)
        finally:
            launched.cancel()
            await asyncio.gather(grouped, return_exceptions=True)
        self._close_diagnostics()  # from here on a supervisor that breaks says so on the line

    async def _until_ready(self, connection: Connection, grouped: asyncio.Future[None]) -> None:
        await connection.ready()
        await asyncio.shield(grouped)

    async def _connect(self, until_over: contextlib.ExitStack) -> int:
        """Launch the supervisor at the other end of a socket. Returns its pid."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._diagnostics, diagnostics = os.pipe()
                try:
                    os.set_blocking(self._diagnostics, False)
                    connection = Connection(self._explain_end, self._kernel_note)
                    await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
                    self._connection = connection
                    self._process, supervisor = await self._launch(theirs.fileno(), diagnostics, until_over)
                finally:
                    os.close(diagnostics)
            except BaseException:
                if self._connection is None:
                    ours.close()
                raise
        return supervisor

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
        """As the protocol says. A daemon that hides its origin outlives the time-out, until `stop`."""
        connection = self._require_connection()
        where = _encode(working_directory)
        variables = _encode_variables(environment)
        request = (_encode(command), where, variables, stdin, float(timeout), output_limit)
        channel = connection.open(output_limit, "run", *request)
        code = await connection.result(channel)
        return CommandResult(exit_code=None if code == TIMED_OUT else code, output=bytes(channel.buffer))

    async def open_terminal(
        self, *, working_directory: str, environment: Mapping[str, str] | None = None
    ) -> SupervisedTerminal:
        connection = self._require_connection()
        request = (_encode(working_directory), _encode_variables(environment))
        return SupervisedTerminal(connection, connection.open(TERMINAL_LIMIT, "terminal", *request))

    async def read_file(self, path: str, *, limit: int = 16 << 20) -> bytes:
        connection = self._require_connection()
        channel = connection.open(limit, "read", _encode(path), limit)
        await self._access(channel, path)
        return bytes(channel.buffer)

    async def write_file(self, path: str, content: bytes) -> None:
        connection = self._require_connection()
        await self._access(connection.open(0, "write", _encode(path), bytes(content)), path)

    async def read_tree(
        self, directory: str, *, first: Sequence[str], without: Sequence[str], limit: int
    ) -> dict[str, bytes]:
        connection = self._require_connection()
        names = [tuple(map(_encode, each)) for each in (first, without)]
        channel = connection.open(limit, "tree", _encode(directory), *names, limit)
        await self._access(channel, directory)
        files = files_of(bytes(channel.buffer))
        return {path.decode("utf-8", "surrogateescape"): content for path, content in files.items()}

    def pause_lifetime(self) -> None:
        if self._lifetime is not None:
            self._lifetime.pause()

    def resume_lifetime(self) -> None:
        if self._lifetime is not None:
            self._lifetime.resume()

    async def stop(self) -> None:
        self._kill(SandboxError("the sandbox was stopped"))
        process, self._process = self._process, None
        if process is not None:
            if self._supervisor >= 0:
                # The end of a pid namespace's first process is the end of them all.
                await wait_readable(self._supervisor)
            else:
                await self._until_it_gives_up(process)
            await child_end(process.pid)
            process.wait()
        supervisor, self._supervisor = self._supervisor, -1
        if supervisor >= 0:
            os.close(supervisor)
        self._close_diagnostics()
        group, self._group = self._group, None
        if group is not None:
            group_threads().submit(group.remove)

    async def _until_it_gives_up(self, process: subprocess.Popen[bytes]) -> None:
        """A process that was launched, and whose supervisor is not known, ends when its line does. To kill it would
        leave alive what it has just started."""
        try:
            await asyncio.wait_for(child_end(process.pid), END_SECONDS)
        except asyncio.TimeoutError:
            process.kill()

    def _close_diagnostics(self) -> None:
        diagnostics, self._diagnostics = self._diagnostics, -1
        if diagnostics >= 0:
            os.close(diagnostics)

    async def _group_supervisor(self, launched: asyncio.Future[int]) -> None:
        """Put the supervisor into a memory cgroup, where there are any. What its interpreter takes meanwhile counts
        elsewhere; nothing else runs before `start` returns."""
        loop = asyncio.get_running_loop()
        make = functools.partial(make_memory_group, self.limits.memory_bytes, self.limits.processes)
        self._group = await loop.run_in_executor(group_threads(), make)
        supervisor = await launched
        spare(supervisor)
        if self._group is not None:
            await loop.run_in_executor(group_threads(), self._group.add, supervisor)

    def _kernel_note(self) -> bytes:
        """What a command is told when the kernel has killed a process for the memory of all; else nothing."""
        if self._group is None or not self._group.has_killed():
            return b""
        return b"\n[killed: more than the sandbox allows (memory_bytes = %d)]\n" % self.limits.memory_bytes

    def _require_connection(self) -> Connection:
        if self._connection is None:
            raise SandboxError("the sandbox was not started")
        return self._connection

    async def _access(self, channel: Any, path: str) -> None:
        try:
            await self._require_connection().result(channel)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None

    def _kill(self, reason: SandboxError) -> None:
        if self._lifetime is not None:
            self._lifetime.pause()
            self._lifetime = None
        if self._connection is not None:
            self._connection.fail(reason)
        if self._supervisor >= 0:
            self._end_supervisor()

    def _end_supervisor(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._supervisor, signal.SIGKILL)

    def _is_ended_from_outside(self, ending: os.waitid_result) -> bool:
        """Whether something outside the sandbox ended the launched process, as far as its end tells."""
        return False

    async def _explain_end(self) -> SandboxError:
        """Why the supervisor hung up."""
        ending = await self._ending()
        told = f"the sandbox ended unexpectedly: {self._describe_end()}"
        if self._process is None or (ending is not None and self._is_ended_from_outside(ending)):
            return SandboxError(told)
        if self._group is not None and (
            self._group.has_killed() or self._group.kills
        ):  # it could not be spared
            return SandboxLimitExceeded("memory_bytes")
        return SandboxEnded(told)

    async def _ending(self) -> os.waitid_result | None:
        """How the launched process ended, which `stop` then still waits for; None: it did not."""
        if self._process is None:
            return None
        try:
            await asyncio.wait_for(child_end(self._process.pid), END_SECONDS)
            how = os.WEXITED | os.WNOWAIT | os.WNOHANG
            return os.waitid(os.P_PID, self._process.pid, how)  # noqa: ASYNC222 (it does not wait)
        except (asyncio.TimeoutError, ChildProcessError, AttributeError):  # or `stop` was faster
            return None

    def _describe_end(self) -> str:
        """What was written where errors go, or on the line, at most its last lines."""
        told = self._connection.last_words if self._connection is not None else b""
        with contextlib.suppress(OSError):
            told = os.read(self._diagnostics, 1 << 16) or told
        return told[-2000:].decode("utf-8", "replace").strip()


def _encode(text: str) -> bytes:
    """Whatever text an agent wrote, also half a surrogate pair, as bytes."""
    return text.encode("utf-8", "surrogatepass")


def _encode_variables(environment: Mapping[str, str] | None) -> dict[bytes, bytes]:
    return {_encode(name): _encode(value) for name, value in (environment or {}).items()}
