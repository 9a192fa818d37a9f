"""What a row says to the oracle: its base and gold files, found by applying its gold patch as grading does.

In: a row, its repository, and a sandbox. Out: a `Solution`. Neither the tree nor git comes near this machine's
own files: a tree brings settings, filters and links along.
"""

from __future__ import annotations

from turnmix.core.errors import UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.repositories.commands import COMMAND_SECONDS
from turnmix.environments.repositories.patch_application import changed_paths
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.repository import Repository
from turnmix.environments.repositories.repository_files import list_files, read_files, read_tracked
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox

APPLY = "git apply --whitespace=nowarn -"


def solve(row: TaskRow, repository: Repository, sandbox: Sandbox) -> Solution:
    """The row's solution, found in `sandbox`, a fresh one of the row's. Blocks, with an event loop of its own.

    Raises:
        SandboxError: the sandbox failed.
        UserError: the gold patch does not fit.
    """
    return run_coroutine(_solve(row, repository, sandbox))


async def _solve(row: TaskRow, repository: Repository, sandbox: Sandbox) -> Solution:
    directory = row.working_directory
    try:
        await sandbox.start()
        await repository.prepare(sandbox)
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
