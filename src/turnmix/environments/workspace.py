"""Reading an agent's workspace whole: every regular file, as bytes. What is in there is untrusted."""

from __future__ import annotations

import contextlib
import io
import shlex
import tarfile
from collections.abc import Sequence

from turnmix.sandboxes.sandbox import Sandbox

WORKSPACE_LIMIT = 8 << 20


async def read_workspace(
    sandbox: Sandbox, directory: str, *, limit: int = WORKSPACE_LIMIT, first: Sequence[str] = ()
) -> dict[str, bytes]:
    """Regular files under `directory` by relative path, without `.git` and byte code.

    Links, devices and anything else that is not a regular file are left out; so is what lies beyond `limit`
    bytes; `first` is read before all others. Of a directory that the agent removed, or made unreadable, there are none.

    Raises:
        SandboxError: the sandbox failed.
    """
    words = " ".join(shlex.quote(f"./{path}") for path in first) + " ."
    result = await sandbox.run(
        f"tar -c --exclude=./.git --exclude=__pycache__ {words} 2>/dev/null",
        working_directory=directory,
        output_limit=limit,
    )
    files: dict[str, bytes] = {}
    # An archive that is cut, or none at all, is what the agent left: a sandbox that fails has raised above.
    with (
        contextlib.suppress(tarfile.TarError, EOFError),
        tarfile.open(fileobj=io.BytesIO(result.output), errors="surrogateescape") as archive,
    ):
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                files[member.name.removeprefix("./")] = content.read()
    return files
