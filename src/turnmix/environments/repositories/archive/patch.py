"""The agent's patch: what it changed, as a text diff against what it started from.

The workspace is read as it lies there and compared in a fresh sandbox, so nothing that the agent did to its
`.git`, its settings or its programs has a part in it. Nested repositories count as plain files, binary files
not at all. A workspace that cannot be read or compared in time is none to judge: were it a failure around the
agent, an agent could keep its worst rollouts out of every count.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Iterator

from turnmix.environments.repositories.commands import COMMAND_SECONDS
from turnmix.environments.repositories.patch_text import PATCH_BYTES, text_sections
from turnmix.environments.tar_members import MalformedArchive, Member, Places, read_members
from turnmix.environments.tar_writer import pack_members
from turnmix.environments.workspace import ANY_TREE
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

WORKSPACE_LIMIT = 256 << 20
DIFF = "git diff --cached --no-color --no-ext-diff --no-textconv --no-renames --full-index HEAD"
REPLACE = (
    "find . -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} + && "
    "tar -x --no-same-owner --no-same-permissions --delay-directory-restore; git add -A"
)


async def read_tree(sandbox: Sandbox, directory: str, *, timeout: float = COMMAND_SECONDS) -> bytes | None:
    """The workspace as a tar archive; None when it is too large to be a patch, or not read in `timeout` seconds.

    Raises:
        SandboxError: the sandbox failed.
    """
    try:
        result = await sandbox.run(
            "tar -c --hard-dereference --exclude=.git --exclude=__pycache__ . 2>/dev/null",
            working_directory=directory,
            timeout=timeout,
            output_limit=WORKSPACE_LIMIT,
        )
    except SandboxEnded:
        return None
    is_whole = result.exit_code is not None and len(result.output) < WORKSPACE_LIMIT
    return result.output if is_whole else None


async def take_patch(tree: bytes, fresh: Sandbox, directory: str) -> bytes | None:
    """How `tree` differs from the repository laid into `fresh`, which it replaces; None when the agent left
    what cannot be compared.

    Raises:
        SandboxError: the sandbox failed.
    """
    try:
        laid = await asyncio.to_thread(lambda: pack_members(_members(tree)))
        replaced = await fresh.run(REPLACE, working_directory=directory, stdin=laid, timeout=COMMAND_SECONDS)
        if replaced.exit_code is None:
            return None
        compared = await fresh.run(
            DIFF, working_directory=directory, timeout=COMMAND_SECONDS, output_limit=PATCH_BYTES
        )
    except SandboxEnded:
        return None
    # The sandbox was in order before the tree came: what fails here fails by it, such as a file that git cannot hold.
    is_whole = compared.exit_code == 0 and len(compared.output) < PATCH_BYTES
    return text_sections(compared.output) if is_whole else None


def _members(tree: bytes) -> Iterator[Member]:
    """What of an agent's archive may lie in the repository: files, directories and links, none of them git's own."""
    places = Places(ANY_TREE)
    with contextlib.suppress(MalformedArchive):
        for member in read_members(io.BytesIO(tree), ANY_TREE):
            placed = None
            with contextlib.suppress(MalformedArchive):
                placed = places.take(member)
            if placed is not None:
                yield placed
