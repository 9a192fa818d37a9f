"""The repository that an image brings along: made ready for an agent, and the agent's change taken from it.

Ready means: at the image's own state, as one commit that the agent starts from; with nothing of the history that
came later, neither by a branch, a tag, the log of references nor an unreachable object; without the hidden tests.
The change is what `git add -A` adds to that commit: text files alone, nested repositories as plain files, but for
submodules: these stay what they were.
"""

from __future__ import annotations

import posixpath
import shlex

from turnmix.core.errors import SandboxError
from turnmix.environments.repositories.commands import DATES
from turnmix.environments.repositories.patch_text import PATCH_BYTES, encoded, text_sections
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

SCRIPT_SECONDS = 900.0
TAKE_SECONDS = 300.0
IDENTITY = "git config user.name agent; git config user.email agent@localhost"
TRUST = "git config --global --add safe.directory '*'"
COMMIT = "git -c gc.auto=0 commit -q --no-verify --allow-empty -m 'Initial state'"
PRUNE = """\
commit=$(git rev-parse HEAD)
git checkout -q --detach
git for-each-ref --format='delete %(refname)' | git update-ref --no-deref --stdin
for remote in $(git remote); do git remote remove "$remote"; done
rm -rf .git/logs .git/worktrees .git/refs/original .git/objects/info/commit-graph .git/objects/info/commit-graphs
rm -f .git/FETCH_HEAD .git/ORIG_HEAD .git/MERGE_HEAD .git/CHERRY_PICK_HEAD .git/objects/pack/*.keep
git update-ref refs/heads/main "$commit"
git symbolic-ref HEAD refs/heads/main
git -c pack.window=0 -c pack.threads=1 repack -a -d -q
git prune --expire=now
rm -rf .git/logs
"""
"""Repacking keeps what a reference reaches; deltas are not searched anew, which makes it quick."""
SUBMODULES = (
    "git -c safe.directory='*' ls-tree -r {base} | while read -r mode _ _ path; do "
    'if [ "$mode" = 160000 ]; then git -c safe.directory=\'*\' reset -q {base} -- "$path"; fi; done; :'
)
"""Puts each submodule of the commit `base` back as it was: a patch cannot carry what is inside one."""
TAKE = (
    "rm -f .git/index.lock; find . -mindepth 2 -type d -name .git -prune -exec rm -rf {} + ; "
    "git -c safe.directory='*' -c core.fsmonitor=false add -A && "
    f"{{ {SUBMODULES}; }} && "
    "git -c safe.directory='*' diff --cached --no-color --no-ext-diff --no-textconv --no-renames --full-index "
    "--ignore-submodules=all --src-prefix=a/ --dst-prefix=b/ {base}"
)


async def set_up_image(row: TaskRow, sandbox: Sandbox) -> None:
    """Bring the image's repository to the state that the row means. Raises SandboxError."""
    if row.setup_script:
        await _run_script(row, sandbox, f"{TRUST}\n{row.setup_script}")


async def prepare_image(row: TaskRow, sandbox: Sandbox) -> str:
    """Make the repository ready for an agent. Returns the commit that it starts from.

    Raises:
        SandboxError: the sandbox failed, or the image is not the row's.
    """
    await set_up_image(row, sandbox)
    script = ["set -e", TRUST]
    script += [f"rm -rf -- {shlex.quote(path)}" for path in row.hidden_paths]
    if row.base_commit:
        commit = shlex.quote(row.base_commit)
        script.append(
            f"git merge-base --is-ancestor {commit} HEAD || {{ echo 'HEAD does not come of' {commit}; exit 1; }}"
        )
    script += [IDENTITY, "git add -A"]
    if row.has_history:
        script.append(f"git diff --cached --quiet || {COMMIT}")
    else:
        script += ["git checkout -q --orphan turnmix-start", COMMIT]
    script += [PRUNE, "git rev-parse HEAD"]
    output = await _run_script(row, sandbox, "\n".join(script))
    return output.decode(errors="replace").split()[-1]


async def take_image_patch(
    row: TaskRow, base: str, sandbox: Sandbox, *, timeout: float = TAKE_SECONDS
) -> bytes | None:
    """What the agent changed since the commit `base`; None when it left no repository to compare, or one that
    is not compared in `timeout` seconds.

    Raises:
        SandboxError: the sandbox failed.
    """
    try:
        result = await sandbox.run(
            TAKE.replace("{base}", base),
            working_directory=row.working_directory,
            environment={"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"},
            timeout=timeout,
            output_limit=PATCH_BYTES,
        )
    except SandboxEnded:
        return None
    is_whole = result.exit_code == 0 and len(result.output) < PATCH_BYTES
    return text_sections(_from_first_section(result.output)) if is_whole else None


def _from_first_section(output: bytes) -> bytes:
    """The diff without the warnings that git wrote before it."""
    if output.startswith(b"diff --git "):
        return output
    return output.partition(b"\ndiff --git ")[2] and b"diff --git " + output.partition(b"\ndiff --git ")[2]


async def _run_script(row: TaskRow, sandbox: Sandbox, script: str) -> bytes:
    result = await sandbox.run(
        "exec bash -s" if row.setup_script else "exec /bin/sh -s",
        working_directory=row.working_directory,
        stdin=encoded(script),
        environment=DATES,
        timeout=SCRIPT_SECONDS,
    )
    if result.exit_code != 0:
        told = result.output[-500:].decode(errors="replace").strip()
        name = posixpath.basename(row.image or "")
        raise SandboxError(
            f"{row.instance_id}: preparing {row.working_directory} of {name}: exit code {result.exit_code}: {told}"
        )
    return result.output
