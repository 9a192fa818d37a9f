"""The files of a repository that lies in a sandbox, its image's or one that was laid there, for the oracle.

In: a started sandbox whose repository is as the agent finds it. Out: the tracked files, or those that the fix
touches alone where the repository is large; and the names of all files that are there, also of those that the
image's maker built and git ignores.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.environments.repositories.commands import COMMAND_SECONDS, OUTPUT_BYTES, must_run
from turnmix.environments.workspace import regular_files
from turnmix.sandboxes.sandbox import Sandbox

LARGEST_TREE = 32 << 20
LONGEST_LIST = 16 << 20
LIST = f"find . -path ./.git -prune -o -type f -print0 | head -c {LONGEST_LIST}"
PACK = "tar -c --null --verbatim-files-from --no-recursion -T - 2>/dev/null; :"


async def list_files(sandbox: Sandbox, directory: str) -> frozenset[str]:
    """The paths of all regular files. Raises SandboxError."""
    found = await must_run(sandbox, LIST, directory)
    paths = (path.removeprefix(b"./").decode(errors="surrogateescape") for path in found.split(b"\0"))
    return frozenset(filter(None, paths))


async def read_tracked(sandbox: Sandbox, directory: str, *, touched: Sequence[bytes]) -> dict[str, str]:
    """The tracked files and those of `touched` that are there; those alone where all are more than LARGEST_TREE.

    Raises:
        SandboxError: the sandbox failed.
    """
    archive = await _packed(
        sandbox, f"{{ git ls-files -z; cat; }} | {PACK}", directory, touched, LARGEST_TREE
    )
    if len(archive) > LARGEST_TREE:
        return await read_files(sandbox, directory, touched)
    return _texts(archive)


async def read_files(sandbox: Sandbox, directory: str, paths: Sequence[bytes]) -> dict[str, str]:
    """Those of `paths` that are regular files. Raises SandboxError."""
    return _texts(await _packed(sandbox, PACK, directory, paths, OUTPUT_BYTES))


async def _packed(
    sandbox: Sandbox, command: str, directory: str, paths: Sequence[bytes], limit: int
) -> bytes:
    result = await sandbox.run(
        command,
        working_directory=directory,
        stdin=b"".join(path + b"\0" for path in paths),
        timeout=COMMAND_SECONDS,
        output_limit=limit + 1,
    )
    return result.output


def _texts(archive: bytes) -> dict[str, str]:
    return {
        path: content.decode(errors="surrogateescape")
        for path, content in regular_files(archive).items()
        if "__pycache__" not in path.split("/")
    }
