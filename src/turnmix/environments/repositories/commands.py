"""Commands and files of our own in a repository's sandbox: they work, or the infrastructure has failed."""

from __future__ import annotations

from collections.abc import Mapping

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.sandbox import Sandbox

COMMAND_SECONDS = 300.0
OUTPUT_BYTES = 64 << 20
DATE = "2000-01-01T00:00:00+0000"
DATES = {"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
"""Of every commit that is made here: equal rows give equal commits."""


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
