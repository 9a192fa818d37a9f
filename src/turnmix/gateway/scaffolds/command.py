"""A scaffold that is a command of this machine: it runs here with the user's rights, beside the task's sandbox.

In: a line for /bin/sh, and one trajectory's work. Out: its exit status, and the report that it left. What it started
ends with it, also when this process is killed: a watchdog stands above it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnmix.core.bounded_file import read_bounded
from turnmix.core.child_environment import child_environment
from turnmix.core.file_descriptors import given_limit
from turnmix.core.json_text import json_text
from turnmix.gateway.scaffolds.report import REPORT_BYTES, ended
from turnmix.gateway.scaffolds.variables import scaffold_variables
from turnmix.gateway.scaffolds.work import ScaffoldEnd, ScaffoldWork
from turnmix.policies.server import watchdog

_PIECE = 1 << 16
_LOG_SECONDS = 2.0
"""For the last that a command says, once it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutside:
    """Runs once a trajectory."""

    command: str
    directory: Path | None = None
    """Where it runs; None: in a new, empty directory, which is deleted afterwards."""
    files: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it gets beside `child_environment` and what it is told of its session."""
    inherited: tuple[str, ...] = ()
    """Names of variables of this process that it gets too."""

    async def __call__(self, work: ScaffoldWork) -> ScaffoldEnd:
        own = Path(tempfile.mkdtemp(prefix="turnmix-scaffold-"))
        try:
            return await self._run(work, own)
        finally:
            await asyncio.to_thread(shutil.rmtree, own, ignore_errors=True)

    async def _run(self, work: ScaffoldWork, own: Path) -> ScaffoldEnd:
        task, report, directory = own / "task.json", own / "report.json", self.directory or own / "work"
        if self.directory is None:
            directory.mkdir()
        seen = str(directory) if work.place is None else work.place.working_directory
        task.write_text(json_text(work.task_json(working_directory=seen), indent=2) + "\n")
        files = None if self.files is None else str(self.files)
        environment = {
            **child_environment(self.inherited),
            **self.environment,
            **scaffold_variables(work.session, task=str(task), report=str(report), files=files),
        }
        command = ["/bin/sh", "-c", self.command]
        status = await run_watched(command, directory=directory, environment=environment, say=work.log.write)
        content: bytes | OSError
        try:
            content = read_bounded(report, most=REPORT_BYTES)
        except OSError as error:
            content = error
        return ended(status, content)


async def run_watched(
    command: Sequence[str], *, directory: Path, environment: Mapping[str, str], say: Callable[[bytes], None]
) -> int:
    """The exit status of a program of this machine. Cancelled, at whatever moment and however often, it is ended with
    all that it started. `say` is given what it prints."""
    is_unwanted = asyncio.Event()
    running = asyncio.ensure_future(_watched(command, directory, environment, say, is_unwanted))
    try:
        return await asyncio.shield(running)
    finally:
        is_unwanted.set()
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({running})


async def _watched(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    say: Callable[[bytes], None],
    is_unwanted: asyncio.Event,
) -> int:
    """As `run_watched`, until `is_unwanted`. Cancelled itself it would kill the watchdog, which then ends nothing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", watchdog.__file__, str(given_limit()), *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env=dict(environment),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    heard = asyncio.ensure_future(_hear(process.stdout, say))
    waits = [asyncio.ensure_future(each) for each in (process.wait(), is_unwanted.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()
    process.stdin.close()  # by which the watchdog knows that nobody wants it any more
    status = await _ended(process)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(heard, _LOG_SECONDS)
    return status


async def _ended(process: asyncio.subprocess.Process) -> int:
    try:
        return await asyncio.wait_for(process.wait(), watchdog.GRACE_SECONDS + 10)
    except asyncio.TimeoutError:
        process.kill()  # what it watched dies with it
        return await process.wait()


async def _hear(stream: asyncio.StreamReader, say: Callable[[bytes], None]) -> None:
    while data := await stream.read(_PIECE):
        say(data)
