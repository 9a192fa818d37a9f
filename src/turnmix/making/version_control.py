"""Trees and differences of a user's repository, by git, without touching that repository.

Enters: a directory, and a revision where it is a git repository. Leaves: its tree in a directory of ours, and
diffs that `git apply` takes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from turnmix.core.errors import MissingDependencyError, UserError

DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--full-index", "--binary",
        "--src-prefix=a/", "--dst-prefix=b/")  # fmt: skip
IGNORED = (".git", ".hg", ".tox", ".nox", ".venv", "venv", "__pycache__", "*.pyc", ".mypy_cache", ".pytest_cache",
           "node_modules")  # fmt: skip


def git(directory: Path, *words: str, environment: Mapping[str, str] | None = None) -> bytes:
    """The output of a git command. Raises UserError with what git says, MissingDependencyError without git."""
    command = ["git", "-c", "core.quotePath=true", *words]
    settings = {**os.environ, "GIT_LITERAL_PATHSPECS": "1", **(environment or {})}
    try:
        result = subprocess.run(command, cwd=directory, env=settings, capture_output=True)
    except FileNotFoundError as error:
        raise MissingDependencyError("git is not installed: sudo apt-get install git") from error
    if result.returncode != 0:
        told = result.stderr.decode(errors="replace").strip()
        raise UserError(f"{directory}: git {' '.join(words[:2])}: {told}")
    return result.stdout


def is_repository(path: Path) -> bool:
    return (path / ".git").exists()


def resolve(path: Path, revision: str) -> str:
    """The full id of a commit. Raises UserError when there is none of that name."""
    if not is_repository(path):
        raise UserError(f"{path} is no git repository, so it has no revision {revision!r}")
    try:
        found = git(path, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except UserError as error:
        raise UserError(f"{path} has no commit {revision!r}: name a commit, a tag or a branch") from error
    return found.decode().strip()


@contextlib.contextmanager
def exported(path: Path, revision: str | None) -> Iterator[Path]:
    """The tree of `revision`, or without one the directory as it is, in a directory of ours."""
    with tempfile.TemporaryDirectory(prefix="turnmix-") as scratch:
        tree = Path(scratch, "tree")
        if revision is None:
            if not path.is_dir():
                raise UserError(f"{path} is no directory: name a repository")
            shutil.copytree(path, tree, symlinks=True, ignore=shutil.ignore_patterns(*IGNORED))
        else:
            tree.mkdir()
            # An index of our own: the user's stays as it is, and no export-ignore leaves the tests out.
            environment = {"GIT_INDEX_FILE": f"{scratch}/index"}
            git(path, "read-tree", revision, environment=environment)
            git(path, "checkout-index", "--all", f"--prefix={tree}/", environment=environment)
        yield tree


def changed_files(path: Path, old: str, new: str) -> list[str]:
    """The files that differ between two revisions."""
    listed = git(path, "diff", "--name-only", "--no-renames", "-z", old, new)
    return [name.decode(errors="surrogateescape") for name in listed.split(b"\0") if name]


def diff_revisions(path: Path, old: str, new: str, files: Sequence[str]) -> str:
    """What changes from `old` to `new` in `files`."""
    if not files:
        return ""
    return git(path, *DIFF, old, new, "--", *files).decode(errors="surrogateescape")


def commits_between(path: Path, old: str, new: str) -> list[tuple[str, str]]:
    """Each commit from `old` to `new` on the main line, oldest first, with its parent before it.

    Raises:
        UserError: `new` does not come after `old`.
    """
    listed = git(path, "rev-list", "--first-parent", "--reverse", f"{old}..{new}").decode().split()
    if not listed:
        raise UserError(f"{path}: no commit leads from {old} to {new}: name the older revision first")
    return [(f"{commit}^", commit) for commit in listed]


class Differ:
    """Diffs between texts, made in a scratch repository."""

    def __init__(self, scratch: Path) -> None:
        self._directory = scratch
        git(scratch, "init", "-q", str(scratch))

    def diff(self, before: Mapping[str, str], after: Mapping[str, str]) -> str:
        """What changes from the files `before` to the files `after`, by relative path."""
        old, new = self._tree(before), self._tree(after)
        return git(self._directory, *DIFF, old, new).decode(errors="surrogateescape")

    def _tree(self, files: Mapping[str, str]) -> str:
        for path in self._directory.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, text in files.items():
            path = self._directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode(errors="surrogateescape"))
        settings = ("-c", "core.autocrlf=false", "-c", "core.safecrlf=false")
        git(self._directory, *settings, "add", "-A", "-f")
        return git(self._directory, "write-tree").decode().strip()
