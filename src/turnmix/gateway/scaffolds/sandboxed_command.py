"""A scaffold that is a command inside the task's sandbox, which has no network but a way to the gateway.

In: a line for /bin/sh, and one trajectory's work. Out: its exit status, and the report that it left inside. It sees
what an agent's commands see: of this machine's environment nothing, and of other sessions nothing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.errors import SandboxError, UserError
from turnmix.core.json_text import json_text
from turnmix.gateway.scaffolds.log import HALF
from turnmix.gateway.scaffolds.passage import Passage
from turnmix.gateway.scaffolds.report import REPORT_BYTES, ended
from turnmix.gateway.scaffolds.variables import scaffold_variables
from turnmix.gateway.scaffolds.work import Place, ScaffoldEnd, ScaffoldWork
from turnmix.sandboxes.sandbox import ListeningSandbox, SandboxEnded

OWN = "/tmp/turnmix"
"""Where, inside a sandbox, what belongs to the scaffold lies."""
FILES_BYTES = 64 * MEBIBYTE
MOST_FILES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandInside:
    """Runs once a trajectory."""

    command: str
    files: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it gets beside that of its sandbox and what it is told of its session."""
    inherited: tuple[str, ...] = ()
    """Names of variables of this process that it gets too."""

    async def __call__(self, work: ScaffoldWork) -> ScaffoldEnd:
        assert work.place is not None
        place, sandbox = work.place, work.place.sandbox
        if not isinstance(sandbox, ListeningSandbox):
            raise UserError(
                "rollouts.scaffold.where: 'sandbox': nothing inside this kind of sandbox can reach the gateway: set "
                "it to outside"
            )
        async with AsyncExitStack() as closing:
            listening = await sandbox.listen()
            port = listening.getsockname()[1]
            gateway = urlsplit(work.session.url)
            assert gateway.hostname is not None
            assert gateway.port is not None
            passage = Passage(listening, host=gateway.hostname, port=gateway.port)
            await closing.enter_async_context(passage)
            inside = replace(work.session, url=f"http://127.0.0.1:{port}")
            files = None if self.files is None else await self._lay(place)
            task, report = f"{OWN}/task.json", f"{OWN}/report.json"
            told = work.task_json(working_directory=place.working_directory)
            await _write(place, task, (json_text(told, indent=2) + "\n").encode())
            environment = {
                **{name: os.environ[name] for name in self.inherited if name in os.environ},
                **self.environment,
                **scaffold_variables(inside, task=task, report=report, files=files),
            }
            result = await sandbox.run(
                self.command,
                working_directory=place.working_directory,
                environment=environment,
                timeout=math.inf,
                output_limit=HALF,
            )
            work.log.write(result.output)
            content: bytes | OSError
            try:
                content = await sandbox.read_file(report, limit=REPORT_BYTES)
            except OSError as error:
                content = error
            return ended(result.exit_code or 0, content)

    async def _lay(self, place: Place) -> str:
        """Copy the user's files into the sandbox. Returns where they are."""
        assert self.files is not None
        top = f"{OWN}/files"
        if self.files.is_file():
            top = f"{top}/{self.files.name}"
            await _write(place, top, read_bounded(self.files, most=FILES_BYTES))
            return top
        left = FILES_BYTES
        for path in files_below(self.files):
            content = read_bounded(path, most=left)
            left -= len(content)
            await _write(place, f"{top}/{path.relative_to(self.files)}", content)
        return top


def files_below(directory: Path) -> Iterator[Path]:
    """The regular files of a directory, but for what version control and Python keep there. Raises UserError: there are
    too many to be copied once a trajectory."""
    number = 0
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(set(folders) - {".git", "__pycache__"})
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                number += 1
                if number > MOST_FILES:
                    raise UserError(
                        f"rollouts.scaffold.files: {directory} holds more than {MOST_FILES} files, which would be "
                        "copied into each sandbox: name a smaller one"
                    )
                yield path


async def _write(place: Place, path: str, content: bytes) -> None:
    try:
        await place.sandbox.write_file(path, content)
    except SandboxEnded as error:  # nothing of the agent's has run yet
        raise SandboxError(str(error)) from error
    except OSError as error:
        raise UserError(
            f"rollouts.scaffold.files: {path} cannot be written inside the sandbox: {error.strerror}: see "
            "sandbox.disk_bytes and sandbox.file_bytes"
        ) from error
