"""Applying a patch to the repository in a sandbox: whole, by git or else with fuzz by `patch`, or not at all.

Never in reverse: a change that is there already does not apply. But a file that a patch adds takes the place of
one that git does not track: images hold such files, and a patch that was taken elsewhere may add what it found. What
is no part of the repository's own code, git's directory and installed packages, no patch changes.
"""

from __future__ import annotations

import re

from turnmix.environments.repositories.patch_text import SECTION, encoded
from turnmix.sandboxes.sandbox import CommandResult, Sandbox

GRADING = "/tmp/turnmix"
"""Where the grader's own files lie in the sandbox."""
APPLY_SECONDS = 300.0
LONGEST_LIST = 16 << 20
"""Bytes of the names of what a patch changes."""
_PATCH = f"{GRADING}/agent.patch"
BEFORE = f"{GRADING}/before"
"""A file: what changed after it is the patch's."""
_PACKAGES = ("*site-packages/*", "*dist-packages/*", "node_modules/*", ".venv/*", ".tox/*", ".nox/*")
"""What is installed in the repository, beside virtual environments of other names."""
_ENVIRONMENTS = "find . -mindepth 2 -maxdepth 4 -path ./.git -prune -o -name pyvenv.cfg -print"
_EXCLUDED = f"""\
set -- {" ".join(f"--exclude='{pattern}'" for pattern in _PACKAGES)}
for environment in $({_ENVIRONMENTS}); do
    environment=${{environment#./}}; set -- "$@" --exclude="${{environment%pyvenv.cfg}}*"
done
"""
"""Makes the arguments by which git leaves alone what is installed."""
_APPLY = f"""\
{_EXCLUDED}
touch {BEFORE} && sleep 0.05
git apply --whitespace=nowarn "$@" {_PATCH} ||
    patch --batch --forward --fuzz=5 -u -p1 -i {_PATCH} || exit 1
for pattern; do shift; set -- "$@" -o -path "./${{pattern#--exclude=}}"; done
changed=$(find . \\( -path './.git/*' "$@" \\) -cnewer {BEFORE} -print -quit)
[ -z "$changed" ] || {{ echo "the patch changes $changed"; exit 1; }}
"""
"""`git apply` leaves a file alone where a part does not fit, so `patch` finds what git found. `patch` writes
wherever it is told: a change time tells what it wrote, and a file's own time would not."""

_LIST_CHANGED = "git apply --numstat -z --whitespace=nowarn - 2>/dev/null"
_LIST = f'{_EXCLUDED} git apply --numstat -z --whitespace=nowarn "$@" - 2>/dev/null'
_CLEAR = "GIT_LITERAL_PATHSPECS=1 xargs -0 git ls-files -z --others -- | xargs -0 rm -f --"
_ADDS = re.compile(rb"^(new file mode |--- /dev/null$)", re.MULTILINE)


async def apply_patch(patch: bytes, directory: str, sandbox: Sandbox) -> CommandResult:
    """What applying came to; the patch fits if the exit code is 0, and is none that comes to no end.

    Raises:
        SandboxError: the sandbox failed.
    """
    try:
        await sandbox.write_file(_PATCH, patch)
    except OSError as error:  # larger than any file there may be
        return CommandResult(exit_code=1, output=f"the patch cannot be written: {error}".encode())
    await _clear_untracked(patch, directory, sandbox)
    return await sandbox.run(_APPLY, working_directory=directory, timeout=APPLY_SECONDS)


async def changed_paths(patch: str, directory: str, sandbox: Sandbox) -> tuple[bytes, ...] | None:
    """The files that a patch of the row changes, adds, removes and moves; None where git cannot read it.

    Raises:
        SandboxError: the sandbox failed.
    """
    result = await sandbox.run(
        _LIST_CHANGED, working_directory=directory, stdin=encoded(patch), output_limit=LONGEST_LIST
    )
    if result.exit_code != 0:
        return None
    paths = [entry.split(b"\t", 2)[2] for entry in result.output.split(b"\0") if entry.count(b"\t") >= 2]
    moved = re.findall(r"^rename from ([^\"\n].*)$", patch, flags=re.MULTILINE)
    return (*paths, *map(encoded, moved))


async def _clear_untracked(patch: bytes, directory: str, sandbox: Sandbox) -> None:
    """Remove files that git does not track where the patch adds others."""
    added = b"".join(s for s in SECTION.split(patch) if _ADDS.search(s.partition(b"\n@@ ")[0]))
    if not added:
        return
    listed = await sandbox.run(
        _LIST, working_directory=directory, stdin=added, timeout=APPLY_SECONDS, output_limit=LONGEST_LIST
    )
    paths = [entry.split(b"\t", 2)[2] for entry in listed.output.split(b"\0") if entry.count(b"\t") >= 2]
    if paths:
        names = b"".join(path + b"\0" for path in paths)
        await sandbox.run(_CLEAR, working_directory=directory, stdin=names, timeout=APPLY_SECONDS)
