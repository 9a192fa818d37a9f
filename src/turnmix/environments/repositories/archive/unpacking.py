"""Unpacks a row's repository in a sandbox: its tree and base patch, as a git repository with one commit.

There is no history, so none shows the fix. Equal rows give equal commits.
"""

from __future__ import annotations

from turnmix.environments.repositories.commands import DATES, must_run
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.workspace_files import GIT_REPOSITORY
from turnmix.sandboxes.sandbox import Sandbox


async def unpack_repository(row: TaskRow, archive: bytes, sandbox: Sandbox) -> None:
    """Raises SandboxError: the sandbox failed, or the row's parts do not fit together."""
    directory = row.working_directory
    await must_run(sandbox, "tar -x --no-same-owner --no-same-permissions", directory, stdin=archive)
    if row.base_patch:
        await must_run(sandbox, "git apply --whitespace=nowarn -", directory, stdin=encoded(row.base_patch))
    await must_run(sandbox, GIT_REPOSITORY, directory, environment=DATES)
