"""What runs in a container while process 1 runs commands one after the other: a command for as long as it takes, and
what wakes processes that were stopped.

In: a command. Out: its result. Like a terminal's shell it is a process that the runtime starts; process 1 ends it with
all that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Mapping

from turnmix.core.errors import SandboxError
from turnmix.core.file_descriptors import shortage
from turnmix.sandboxes.container.creation import BLOCK_BYTES, script
from turnmix.sandboxes.container.engine import Engine
from turnmix.sandboxes.container.job import KILLED, NO_SHELL, job_mark
from turnmix.sandboxes.container.line import Line
from turnmix.sandboxes.container.stream import Stream
from turnmix.sandboxes.sandbox import CommandResult

WAKE_SECONDS = 10.0
_MARK_BYTES = 64


async def run_beside(
    engine: Engine,
    container: str,
    line: Line,
    command: str,
    *,
    working_directory: str,
    environment: Mapping[str, str],
    file_bytes: int,
    output_limit: int,
) -> CommandResult:
    """Its result; when this is cancelled it is killed. `line` leads to process 1.

    Raises:
        SandboxError: the container ended, or the runtime does not answer.
    """
    word, mark = secrets.token_hex(12), job_mark(line.number())
    name, _, value = mark.partition("=")
    await line.request("make_room")
    try:
        stream = await engine.exec_stream(
            container,
            [script("beside.sh"), "sh", working_directory, str(file_bytes // BLOCK_BYTES), word, command],
            environment={**environment, name: value},
            has_terminal=False,
        )
    except SandboxError as error:
        if told := shortage(error):
            raise SandboxError(told) from error
        await line.request(":")  # says whether the container lives
        return CommandResult(exit_code=NO_SHELL, output=f"cannot start a shell: {error}\n".encode())
    try:
        result = await _ended(stream, word.encode(), output_limit)
        if result.exit_code == KILLED:  # or all has ended
            await line.request(":")
        return result
    except BaseException:
        with contextlib.suppress(SandboxError):
            await line.request(f"end {mark}")
        raise
    finally:
        stream.close()


async def wake_all(engine: Engine, container: str) -> None:
    """An agent can stop every process inside, not one that comes from outside."""
    with contextlib.suppress(SandboxError, asyncio.TimeoutError):
        stream = await engine.exec_stream(
            container, ["kill -CONT -1; exit 0"], environment={}, has_terminal=False
        )
        try:
            await asyncio.wait_for(stream.to_the_end(), WAKE_SECONDS)
        finally:
            stream.close()


async def _ended(stream: Stream, word: bytes, limit: int) -> CommandResult:
    """What the command says until it ends. What it left running may say more, which is not waited for."""
    said = re.compile(rb"\n%s (\d+)\n" % word)
    output, held = bytearray(), b""
    while True:
        _, data = await stream.read()
        held += data
        if (end := said.search(held)) is not None or not data:
            kept, code = (held, KILLED) if end is None else (held[: end.start()], int(end[1]) % 256)
            output += kept[: limit - len(output)]
            return CommandResult(exit_code=code, output=bytes(output))
        # The last bytes may be the beginning of a mark.
        output += held[:-_MARK_BYTES][: limit - len(output)]
        held = held[-_MARK_BYTES:]
