"""What a row says to the oracle: its base and gold files, found by applying its gold patch as grading does.

Enters: a row, the content of its archive, and a sandbox to be made. Leaves: a `Solution`. Neither the tree nor git
comes near this machine's own files: a tree brings settings, filters and links along.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from turnmix.core.errors import UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.repositories.image_repository import prepare_image
from turnmix.environments.repositories.image_tree import list_files, read_files, read_tracked
from turnmix.environments.repositories.patch_application import changed_paths
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.repositories.unpacking import COMMAND_SECONDS, encoded, lay_repository
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.selection import BubblewrapSettings

APPLY = "git apply --whitespace=nowarn -"
IN_BUBBLEWRAP = partial(make_row_sandbox, BubblewrapSettings().make)


def solve(
    row: TaskRow,
    archive: bytes,
    make_sandbox: Callable[[TaskRow], Sandbox] = IN_BUBBLEWRAP,
) -> Solution:
    """The row's solution. Blocks, with an event loop of its own. `archive`: not looked at where the row has an image.

    Raises:
        SandboxError: the sandbox failed.
        UserError: the gold patch does not fit.
    """
    return run_coroutine(_solve(row, archive, make_sandbox(row)))


async def _solve(row: TaskRow, archive: bytes, sandbox: Sandbox) -> Solution:
    directory = row.working_directory
    try:
        await sandbox.start()
        if row.image is None:
            await lay_repository(row, archive, sandbox)
        else:
            await prepare_image(row, sandbox)
        present = await list_files(sandbox, directory)
        touched = await changed_paths(row.gold_patch, directory, sandbox) or ()
        base = await read_tracked(sandbox, directory, touched=touched)
        applied = await sandbox.run(
            APPLY, working_directory=directory, stdin=encoded(row.gold_patch), timeout=COMMAND_SECONDS
        )
        if applied.exit_code != 0:
            told = applied.output[-500:].decode(errors="replace").strip()
            raise UserError(f"{row.instance_id}: gold_patch does not apply to its repository: {told}")
        gold = await read_files(sandbox, directory, touched)
    finally:
        await sandbox.stop()
    names = sorted(path.decode(errors="surrogateescape") for path in touched)
    return Solution(
        files={path: gold[path] for path in names if path in gold and base.get(path) != gold[path]},
        removed=tuple(path for path in names if path in base and path not in gold),
        base=base,
        present=present,
        test_command=row.test_command,
        test_timeout=row.timeout_seconds,
    )
