"""A sandbox that is one container.

In: an image and limits. Out: a sandbox for one trajectory, without a network unless the recipe asks for
one; the agent is root inside. The image needs a POSIX shell with cat, mkdir and rm, nothing else.

memory_bytes, processes, cpus  held by the kernel: what exceeds memory is killed, the agent sees that
file_bytes                     held by the kernel, for all but a process that raises it with rights it lacks
disk_bytes                     held by the storage driver where it can (overlay on xfs with project quotas,
                               btrfs, zfs); else, and always, counted every few seconds: a container that
                               wrote more is ended
wall_seconds                   held here

Process 1 ends when the connection to it does, so no container outlives this process; `owner` finds those that
a machine left behind when it went down.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.container.beside import run_beside, wake_all
from turnmix.sandboxes.container.creation import create_container
from turnmix.sandboxes.container.ending import explain_end
from turnmix.sandboxes.container.engine import Engine, Option, connected
from turnmix.sandboxes.container.files import READ, WRITE, check_path, file_error
from turnmix.sandboxes.container.images import PullProgress, image_settings
from turnmix.sandboxes.container.job import NO_SHELL, job_request
from turnmix.sandboxes.container.line import Line
from turnmix.sandboxes.container.listening import listen_in_container
from turnmix.sandboxes.container.settings import CONTAINER_LIMITS, ContainerSettings
from turnmix.sandboxes.container.shell_text import exports_of, text_bytes
from turnmix.sandboxes.container.terminal import ContainerTerminal, open_container_terminal
from turnmix.sandboxes.container.watches import watch_disk, watch_terminals
from turnmix.sandboxes.lifetime import Lifetime
from turnmix.sandboxes.sandbox import CommandResult, ImageSettings, Limits, SandboxLimitExceeded
from turnmix.sandboxes.settings import ImageBuild

FILE_SECONDS = 120.0
COMPLAINT_BYTES = 1 << 13
"""Of what is said about a file that cannot be read."""


class ContainerSandbox:
    """One trajectory's container."""

    def __init__(
        self,
        image: str | ImageBuild,
        *,
        limits: Limits = CONTAINER_LIMITS,
        settings: ContainerSettings | None = None,
        inside: ContainerSettings | None = None,
        variables: Mapping[str, str] | None = None,
        on_progress: Callable[[PullProgress], None] | None = None,
    ) -> None:
        """`inside`: cpus and network, where they are not those of `settings`. `variables`: set for every command.
        `on_progress`: told how far a pull is; else it is printed."""
        self.image = image if isinstance(image, str) else "an image not made yet"
        self.limits = limits
        self.settings = settings or ContainerSettings()
        self._build = None if isinstance(image, str) else image
        self._inside = inside or self.settings
        self.name = f"turnmix-{secrets.token_hex(8)}"
        self._variables = dict(variables or {})
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._engine: Engine | None = None
        self._line: Line | None = None
        self._starting: asyncio.Future[None] | None = None
        self._is_stopped = False
        self._lifetime: Lifetime | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._terminals: list[ContainerTerminal] = []

    async def start(self) -> None:
        """Raises SandboxError; UserError for an image of the settings that there is not."""
        engine = await self._have_image()
        self._starting = asyncio.ensure_future(self._launch(engine))
        try:
            await asyncio.shield(self._starting)
        except BaseException:
            await self.stop()
            raise
        self._lifetime = Lifetime(self.limits.wall_seconds, on_end=partial(self._exceed, "wall_seconds"))
        self._lifetime.resume()
        self._watches = [asyncio.ensure_future(watch_disk(engine, self.name, self.limits, self._exceed))]
        if Option.terminals not in engine.options:
            self._watches.append(asyncio.ensure_future(watch_terminals(self._require_line())))

    async def have_image(self) -> ImageSettings:
        engine = await self._have_image()
        return await engine.call(image_settings, engine.api, self.image)  # type: ignore[no-any-return]

    async def _have_image(self) -> Engine:
        engine = self._engine = await connected(self.settings)
        if self._build is not None:
            self.image = await engine.have_built(self._build)
        else:
            await engine.have_image(self.image, self.settings, on_progress=self._on_progress)
        return engine

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
        """As the protocol says. Commands with a time-out run one after the other; one without runs beside them, and
        gets no `stdin`. A process that clears its environment and hides its origin outlives the time-out, until
        `stop`."""
        line = self._require_line()
        if "\0" in command or "\0" in working_directory:
            return CommandResult(exit_code=NO_SHELL, output=b"cannot start a shell: a zero byte\n")
        exports = exports_of(environment or {})
        if math.isinf(timeout) and not stdin:
            return await run_beside(
                self._require_engine(),
                self.name,
                line,
                command,
                working_directory=working_directory,
                environment=environment or {},
                file_bytes=self.limits.file_bytes,
                output_limit=output_limit,
            )
        try:
            source = await self._lay(stdin) if stdin else "/dev/null"
        except OSError as error:
            engine = self._require_engine()
            if await engine.call(engine.written_bytes, self.name) + len(stdin) > self.limits.disk_bytes:
                raise SandboxLimitExceeded("disk_bytes") from error
            raise SandboxError(f"the container took no input: {error}") from error
        request = job_request(text_bytes(working_directory), text_bytes(command), source.encode(), exports)
        return await line.run(request, timeout=timeout, limit=output_limit)

    async def open_terminal(
        self, *, working_directory: str, environment: Mapping[str, str] | None = None
    ) -> ContainerTerminal:
        line = self._require_line()
        terminal = await open_container_terminal(
            self._require_engine(),
            self.name,
            line,
            working_directory=working_directory,
            environment=environment or {},
            file_bytes=self.limits.file_bytes,
        )
        self._terminals.append(terminal)
        return terminal

    async def read_file(self, path: str, *, limit: int = 16 << 20) -> bytes:
        result = await self._access(READ, path, limit=limit + COMPLAINT_BYTES, stops_at_limit=True)
        if result.exit_code:
            raise file_error(result, path)
        if len(result.output) > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        if result.exit_code is None:
            raise file_error(result, path)
        return result.output

    async def write_file(self, path: str, content: bytes) -> None:
        check_path(path)
        if len(content) > self.limits.file_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        try:
            source = await self._lay(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        result = await self._access(WRITE, path, source=source)
        if result.exit_code != 0:
            raise file_error(result, path)

    async def listen(self) -> socket.socket:
        """As the protocol says. Raises UserError: not from this process."""
        self._require_line()
        return await listen_in_container(self._require_engine(), self.name, self.read_file)

    def pause_lifetime(self) -> None:
        if self._lifetime is not None:
            self._lifetime.pause()

    def resume_lifetime(self) -> None:
        if self._lifetime is not None:
            self._lifetime.resume()

    async def stop(self) -> None:
        stopping = asyncio.ensure_future(self._stop())
        await asyncio.shield(stopping)

    async def _launch(self, engine: Engine) -> None:
        self._began = time.monotonic()
        await engine.call_to_start(
            create_container,
            engine,
            self.image,
            name=self.name,
            limits=self.limits,
            settings=self._inside,
            variables=self._variables,
        )
        path = f"/containers/{self.name}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        stream = await engine.stream(path)
        line = self._line = Line(
            stream, secrets.token_hex(12), wake=partial(wake_all, engine, self.name), explain=self._explain
        )
        await engine.call_to_start(engine.api.start, self.name)
        try:
            await asyncio.wait_for(line.ready(), self.settings.start_timeout)
        except asyncio.TimeoutError:
            raise SandboxError(
                f"a container of {self.image} did not start in {self.settings.start_timeout:g} s"
            ) from None
        except SandboxError as error:
            raise SandboxError(
                f"a container of {self.image} ended at its start: is /bin/sh in it?"
            ) from error

    async def _explain(self, told: str) -> SandboxError:
        engine, age = self._require_engine(), time.monotonic() - self._began
        explained = await engine.call(explain_end, engine, self.name, told, age=age)
        assert isinstance(explained, SandboxError)
        return explained

    async def _access(
        self, script: str, path: str, *, source: str = "", limit: int = 1 << 16, stops_at_limit: bool = False
    ) -> CommandResult:
        check_path(path)
        line = self._require_line()
        exports = exports_of({"turnmix_path": path, "turnmix_source": source})
        request = job_request(b"/", script.encode(), b"/dev/null", exports)
        return await line.run(request, timeout=FILE_SECONDS, limit=limit, stops_at_limit=stops_at_limit)

    async def _lay(self, content: bytes) -> str:
        """`content` as a file in the container that its reader removes. Raises OSError where there is no room."""
        line, engine = self._require_line(), self._require_engine()
        name = f".turnmix-{secrets.token_hex(8)}"
        try:
            await engine.call(engine.put_file, self.name, name, content)
        except OSError:
            await self.run(f"rm -f /{name}")
            raise
        except SandboxError:
            await line.request(":")  # says whether the container lives, and else whose doing it is
            raise
        return f"/{name}"

    def _exceed(self, limit: str) -> None:
        if self._line is not None:
            self._line.fail(SandboxLimitExceeded(limit))

    async def _stop(self) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._lifetime is not None:
            self._lifetime.pause()
            self._lifetime = None
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        if self._starting is None or self._engine is None:
            return
        await asyncio.gather(self._starting, return_exceptions=True)
        if self._line is not None:
            self._line.fail(SandboxError("the sandbox was stopped"))
            await self._line.close()
        for terminal in self._terminals:
            await terminal.close()
        await self._engine.call(self._engine.remove, self.name)

    def _require_line(self) -> Line:
        if self._line is None:
            raise SandboxError("the sandbox was not started")
        self._line.check()
        return self._line

    def _require_engine(self) -> Engine:
        assert self._engine is not None
        return self._engine
