"""An agent's shell in a container: on a terminal, or, where the image cannot set one up, on pipes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Mapping
from functools import partial

from turnmix.core.errors import SandboxError
from turnmix.core.file_descriptors import shortage
from turnmix.sandboxes.container.creation import BLOCK_BYTES, script
from turnmix.sandboxes.container.engine import Engine
from turnmix.sandboxes.container.job import job_mark
from turnmix.sandboxes.container.line import Line
from turnmix.sandboxes.container.stream import Stream

INTERRUPT = b"\x03"
END_OF_INPUT = b"\x04"
SET_UP_SECONDS = 30.0


class ContainerTerminal:
    """`stream` None: no shell could be started, and `output` says why."""

    def __init__(
        self, *, line: Line, stream: Stream | None, mark: str, output: bytes, has_keys: bool
    ) -> None:
        self._line = line
        self._stream = stream
        self._mark = mark
        self._output = output
        self._has_keys = has_keys
        """Keys are the terminal's to understand; on pipes this class does what it can."""

    async def write(self, data: bytes) -> None:
        self._line.check()
        if self._stream is None:
            return
        if data == INTERRUPT and (not self._has_keys or self._stream.is_blocked):
            await self._line.request(f"interrupt {self._mark}")
        if self._has_keys or data not in (INTERRUPT, END_OF_INPUT):
            self._stream.write(data)

    async def read(self) -> bytes:
        if self._output or self._stream is None:
            data, self._output = self._output, b""
        else:
            _, data = await self._stream.read()
            if not data and self._stream is not None:  # the shell has ended, or all has
                await self._line.request(":")
        if not data:
            self._line.check()
        return data

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with contextlib.suppress(SandboxError):
            await self._line.request(f"end {self._mark}")
        stream.close()


async def open_container_terminal(
    engine: Engine,
    container: str,
    line: Line,
    *,
    working_directory: str,
    environment: Mapping[str, str],
    file_bytes: int,
) -> ContainerTerminal:
    """A shell in `container`, which `line` leads to."""
    refusal = b""
    for has_keys in (True, False):
        number = line.number()
        terminal = partial(ContainerTerminal, line=line, mark=job_mark(number), has_keys=has_keys)
        name, _, value = job_mark(number).partition("=")
        word = secrets.token_hex(12)
        await line.request("make_room")
        try:
            stream = await engine.exec_stream(
                container,
                [script("terminal.sh"), "sh", working_directory, str(file_bytes // BLOCK_BYTES), word],
                environment={"PS1": "", "PS2": "", "HISTFILE": "/dev/null", **environment, name: value},
                has_terminal=has_keys,
            )
        except (SandboxError, OSError) as error:
            if told := shortage(error):  # which is not the agent's to be told
                raise SandboxError(told) from error
            if isinstance(error, OSError):
                raise
            await line.request(":")  # says whether the container lives
            refusal = str(error).encode()
            continue
        try:
            state, output = await asyncio.wait_for(_set_up(stream, word), SET_UP_SECONDS)
        except asyncio.TimeoutError:
            state, output = b"", b"it does not answer"
        except BaseException:
            stream.close()
            raise
        if state == b"ready":
            return terminal(stream=stream, output=output)
        stream.close()
        line.check()
        refusal = output
    # Without a pseudo-terminal to be had, and without a pipe.
    return terminal(stream=None, output=b"cannot start a shell: " + refusal[-1000:] + b"\n")


async def _set_up(stream: Stream, word: str) -> tuple[bytes, bytes]:
    """What `terminal.sh` says of itself, and the output after it; b"" and all output where it failed."""
    seen = b""
    for states in (b"here", b"ready|bare"):
        said = re.compile(rb"%s (%s) " % (word.encode(), states))
        while (found := said.search(seen)) is None:
            _, data = await stream.read()
            if not data:
                return b"", seen
            seen = (seen + data)[-(1 << 16) :]
        if states == b"here":
            stream.write(b"\n")
    assert found is not None
    return found[1], seen[found.end() :]
