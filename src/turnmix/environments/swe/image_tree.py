"""The files of an image's repository, as an archive: what the oracle needs of a task that has an image.

Enters: a row and a fresh sandbox. Leaves: a tar archive of the tracked files as the agent finds them; of those
that the fix touches alone, where the repository is large.
"""

from __future__ import annotations

import asyncio
import shlex
import tarfile
from collections.abc import Callable

from turnmix.environments.swe.adapters.evaluation_script import changed_files
from turnmix.environments.swe.image_repository import prepare_image
from turnmix.environments.swe.laying import must_run
from turnmix.environments.swe.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox

LARGEST_TREE = 32 << 20
EMPTY = bytes(tarfile.RECORDSIZE)
"""An archive without a member."""


def read_image_tree(row: TaskRow, make_sandbox: Callable[[TaskRow], Sandbox]) -> bytes:
    """Blocks, with an event loop of its own. Raises SandboxError."""
    return asyncio.run(_read(row, make_sandbox(row)))


async def _read(row: TaskRow, sandbox: Sandbox) -> bytes:
    try:
        await sandbox.start()
        await prepare_image(row, sandbox)
        size = await must_run(sandbox, "git archive HEAD | wc -c", row.working_directory)
        paths = ""
        if int(size) > LARGEST_TREE:
            changed = changed_files(row.gold_patch)
            if not changed:
                return EMPTY
            paths = " -- " + " ".join(map(shlex.quote, changed))
        return await must_run(sandbox, f"git archive HEAD{paths}", row.working_directory)
    finally:
        await sandbox.stop()
