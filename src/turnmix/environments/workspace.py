"""An agent's workspace, read whole: every regular file, as bytes. What is in there is untrusted."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Sequence

from turnmix.core.errors import UserError
from turnmix.core.task import Task, Workspace
from turnmix.environments.tar_members import MalformedArchive, TreeLimits, inside, read_members
from turnmix.sandboxes.sandbox import Sandbox, TreeSandbox

WORKSPACE_LIMIT = 8 << 20
ANY_TREE = TreeLimits(members=1 << 20, name_bytes=4096, depth=256)
"""What an agent may leave; how many bytes are read is limited before."""
NOT_READ = (".git", "__pycache__")


def workspace_of(task: Task) -> Workspace:
    """Raises UserError: the task has none."""
    if task.workspace is None:
        raise UserError(
            f"task {task.id}: its agent works with files, but it says not where: give the task a `workspace`"
        )
    return task.workspace


async def read_workspace(
    sandbox: Sandbox, directory: str, *, limit: int = WORKSPACE_LIMIT, first: Sequence[str] = ()
) -> dict[str, bytes]:
    """Regular files under `directory` by relative path, without `.git` and byte code.

    Links, devices and anything else that is not a regular file are left out; so is what lies beyond `limit`
    bytes; `first` is read before all others. Of a directory that the agent removed, or made unreadable, there are none.

    Raises:
        SandboxError: the sandbox failed.
    """
    if isinstance(sandbox, TreeSandbox):
        return await _tree(sandbox, directory, limit=limit, first=first)
    words = " ".join(shlex.quote(f"./{path}") for path in first) + " ."
    result = await sandbox.run(
        f"tar -c --exclude=./.git --exclude=__pycache__ {words} 2>/dev/null",
        working_directory=directory,
        output_limit=limit,
    )
    return regular_files(result.output)


async def _tree(
    sandbox: TreeSandbox, directory: str, *, limit: int, first: Sequence[str]
) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with contextlib.suppress(OSError):
        found = await sandbox.read_tree(directory, first=first, without=NOT_READ, limit=limit)
        for name, content in found.items():
            with contextlib.suppress(MalformedArchive):
                if path := inside(name, ANY_TREE):
                    files[path] = content
    return files


def regular_files(archive: bytes) -> dict[str, bytes]:
    """The regular files of a tar archive that came out of a sandbox, by relative path.

    An archive that is cut, or none at all, is what the agent left: a sandbox that fails has raised before. It may
    come from a program of the agent's own: what it names outside the tree, or as git's, is left out.
    """
    files: dict[str, bytes] = {}
    with contextlib.suppress(MalformedArchive):
        for member in read_members(io.BytesIO(archive), ANY_TREE):
            with contextlib.suppress(MalformedArchive):
                if member.kind == "file" and (path := inside(member.path, ANY_TREE)):
                    files[path] = member.content
    return files
