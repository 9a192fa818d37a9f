"""The files of an image's repository: what the oracle needs of a task that has an image.

Enters: a row and a fresh sandbox. Leaves: a tar archive of the tracked files as the agent finds them; of those
that the fix touches alone, where the repository is large. And the names of all files that are there, also of
those that the image's maker built and git ignores.
"""

from __future__ import annotations

import asyncio
import shlex
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

from turnmix.environments.swe.adapters.evaluation_script import changed_files
from turnmix.environments.swe.image_repository import prepare_image
from turnmix.environments.swe.laying import must_run
from turnmix.environments.swe.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox

LARGEST_TREE = 32 << 20
EMPTY = bytes(tarfile.RECORDSIZE)
"""An archive without a member."""
LIST = "find . -path ./.git -prune -o -type f -print0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTree:
    """An image's repository as an agent finds it."""

    archive: bytes
    paths: frozenset[str]
    """Of all regular files, whether they are in the archive or not."""


def read_image_tree(row: TaskRow, make_sandbox: Callable[[TaskRow], Sandbox]) -> ImageTree:
    """Blocks, with an event loop of its own. Raises SandboxError."""
    return asyncio.run(_read(row, make_sandbox(row)))


async def _read(row: TaskRow, sandbox: Sandbox) -> ImageTree:
    try:
        await sandbox.start()
        await prepare_image(row, sandbox)
        found = await must_run(sandbox, LIST, row.working_directory)
        paths = (path.removeprefix(b"./").decode(errors="surrogateescape") for path in found.split(b"\0"))
        return ImageTree(archive=await _archive(row, sandbox), paths=frozenset(paths))
    finally:
        await sandbox.stop()


async def _archive(row: TaskRow, sandbox: Sandbox) -> bytes:
    size = await must_run(sandbox, "git archive HEAD | wc -c", row.working_directory)
    chosen = ""
    if int(size) > LARGEST_TREE:
        changed = changed_files(row.gold_patch)
        if not changed:
            return EMPTY
        chosen = " -- " + " ".join(map(shlex.quote, changed))
    return await must_run(sandbox, f"git archive HEAD{chosen}", row.working_directory)
