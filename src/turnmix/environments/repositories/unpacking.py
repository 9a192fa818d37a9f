"""Laying a row's repository into a sandbox: its tree and base patch, as a git repository with one commit.

There is no history, so none shows the fix. Equal rows give equal commits. An image brings its repository
along, and is prepared by what knows its layout.
"""

from __future__ import annotations

from collections.abc import Mapping

from turnmix.core.errors import SandboxError
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.workspace_files import GIT_REPOSITORY
from turnmix.sandboxes.sandbox import Sandbox

DATE = "2000-01-01T00:00:00+0000"
DATES = {"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
COMMAND_SECONDS = 300.0
OUTPUT_BYTES = 64 << 20


async def lay_repository(row: TaskRow, archive: bytes, sandbox: Sandbox) -> None:
    """Raises SandboxError: the sandbox failed, or the row's parts do not fit together."""
    directory = row.working_directory
    await must_run(sandbox, "tar -x --no-same-owner --no-same-permissions", directory, stdin=archive)
    if row.base_patch:
        await must_run(sandbox, "git apply --whitespace=nowarn -", directory, stdin=encoded(row.base_patch))
    await must_run(sandbox, GIT_REPOSITORY, directory, environment=DATES)


async def must_write(sandbox: Sandbox, path: str, content: bytes) -> None:
    """Write one of our own files, which has its place. Raises SandboxError."""
    try:
        await sandbox.write_file(path, content)
    except OSError as error:
        raise SandboxError(f"writing {path}: {error}") from error


async def must_run(
    sandbox: Sandbox,
    command: str,
    directory: str,
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """The output, whole, of a command that fails only where the infrastructure or the task itself does.

    Raises:
        SandboxError: the sandbox, or the command, failed, or it said OUTPUT_BYTES or more.
    """
    result = await sandbox.run(
        command,
        working_directory=directory,
        stdin=stdin,
        environment=environment,
        timeout=COMMAND_SECONDS,
        output_limit=OUTPUT_BYTES,
    )
    if result.exit_code != 0:
        told = result.output[-500:].decode(errors="replace")
        raise SandboxError(f"`{command}` in {directory}: exit code {result.exit_code}: {told}")
    if len(result.output) >= OUTPUT_BYTES:
        raise SandboxError(f"`{command}` says more than {OUTPUT_BYTES >> 20} MiB")
    return result.output


def encoded(text: str) -> bytes:
    """A patch's own bytes: what is not UTF-8 is kept as half a surrogate pair."""
    return text.encode("utf-8", "surrogateescape")


def decoded(patch: bytes) -> str:
    """What `encoded` gives back as it was."""
    return patch.decode("utf-8", "surrogateescape")
