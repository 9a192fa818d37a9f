"""A task's files, written into a sandbox at the start: one script, which needs a POSIX shell and mkdir alone."""

from __future__ import annotations

import posixpath
import shlex

from turnmix.core.errors import SandboxError
from turnmix.core.task import Task
from turnmix.environments.workspace import workspace_of
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.observation import decode, encode

# Settings as git writes them itself, which would take a process for each; nothing needs to be kept in order yet.
GIT_REPOSITORY = r"""git init -q -b main --template= \
&& printf '[user]\n\tname = agent\n\temail = agent@localhost\n' >> .git/config \
&& git add -A -f && git -c gc.auto=0 -c maintenance.auto=false commit -q --no-verify --allow-empty -m 'Initial state'"""


async def write_workspace(task: Task, sandbox: Sandbox, *, afterwards: str = "") -> None:
    """Write the task's files into the working directory, then run the shell command `afterwards` there.

    `functools.partial(write_workspace, afterwards=GIT_REPOSITORY)` makes it a git repository with one commit.

    Raises:
        SandboxError: a file could not be written or `afterwards` failed.
        UserError: the task has no workspace.
    """
    workspace = workspace_of(task)
    directories = {posixpath.dirname(path) for path in workspace.files}
    script = ["set -e"]
    if directories - {""}:
        script.append(f"mkdir -p -- {' '.join(map(shlex.quote, sorted(directories - {''})))}")
    script += [
        f"printf %s {shlex.quote(text)} > {shlex.quote(path)}" for path, text in workspace.files.items()
    ]
    script.append(afterwards)
    # By standard input, because one argument of a process holds no more than 128 KiB.
    result = await sandbox.run(
        "exec /bin/sh -s", working_directory=workspace.working_directory, stdin=encode("\n".join(script))
    )
    if result.exit_code != 0:
        output = decode(result.output[-500:])
        raise SandboxError(f"preparing task {task.id}: exit code {result.exit_code}, {output!r}")
