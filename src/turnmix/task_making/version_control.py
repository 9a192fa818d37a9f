"""Trees and differences of a repository, by git, without touching that repository or running what it names.

In: a directory, and a revision where it is a git repository. Out: the members of its tree, and diffs that
`git apply` takes. A repository that came as an archive brings settings along, by which git runs programs: filters,
monitors, hooks, converters for diffs, and transports that fetch what is missing. Only commands that read objects are
run, with all of these off; so a file of Git LFS is the pointer that the repository holds.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnmix.core.child_environment import child_environment
from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.environments.repositories.archive.files import checked, directory_members, stays_inside
from turnmix.environments.tar_members import TREE_LIMITS, MalformedArchive, Member, TreeLimits

DIFF = ("-r", "-p", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--full-index", "--binary",
        "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/")  # fmt: skip
IGNORED = (".git", ".hg", ".tox", ".nox", ".venv", "venv", "__pycache__", "*.pyc", ".mypy_cache", ".pytest_cache",
           "node_modules")  # fmt: skip
SAFE = ("-c", "core.quotePath=true", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
        "-c", "protocol.allow=never")  # fmt: skip
SAFE_ENVIRONMENT = {
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
}
GIT_SECONDS = 600.0
MOST_SAID = 64 << 20
LONGEST_LIST = 20 << 20
"""Bytes of the names of a tree's files."""


def git(
    directory: Path,
    *words: str,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    limit: int = MOST_SAID,
) -> bytes:
    """The output of a git command.

    Raises:
        UserError: with what git says, or because it says more than `limit` bytes, or takes too long.
        MissingDependencyError: git is not installed.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                ["git", *SAFE, *words],
                cwd=directory,
                env={**child_environment(), **SAFE_ENVIRONMENT, **(environment or {})},
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        except FileNotFoundError as error:
            raise MissingDependencyError("git is not installed: sudo apt-get install git") from error
        except OSError as error:
            raise UserError(f"{directory}: {error.strerror}") from error
        patience = threading.Timer(GIT_SECONDS, process.kill)
        patience.start()
        with process:
            assert process.stdout is not None
            output = process.stdout.read(limit + 1)
            if len(output) > limit:
                process.kill()
        patience.cancel()
        errors.seek(0)
        told = errors.read(2000).decode(errors="replace").strip()
    if len(output) > limit:
        raise UserError(
            f"{directory}: git {words[0]} says more than {limit >> 20} MiB: name a smaller repository"
        )
    if process.returncode != 0:
        raise UserError(f"{directory}: git {' '.join(words[:2])}: {told or f'ended by {process.returncode}'}")
    return output


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


def tree_members(path: Path, revision: str | None, limits: TreeLimits = TREE_LIMITS) -> list[Member]:
    """The tree of `revision`, as it was committed, or without one the directory as it is. Links that lead out of it,
    and what lies in a submodule, are left out.

    Raises:
        UserError: there is none, or it holds too much or what no tree may hold.
    """
    if revision is not None:
        try:
            return list(checked(_committed(path, revision, limits), limits))
        except MalformedArchive as error:
            raise UserError(f"{path}, {revision[:10]}: {error}: name another revision") from error
    if not path.is_dir():
        raise UserError(f"{path} is no directory: name a repository")
    return list(directory_members(path, left_out=IGNORED, limits=limits))


def _committed(path: Path, revision: str, limits: TreeLimits) -> Iterator[Member]:
    entries = sorted(_entries(path, revision), key=lambda entry: entry.path.split("/"))
    total = sum(entry.size for entry in entries)
    if total > limits.total_bytes or len(entries) > limits.members:
        raise MalformedArchive(f"holds {len(entries)} files of {total >> 20} MiB, more than are read")
    blobs = [entry for entry in entries if entry.kind == b"blob"]
    wanted = b"".join(entry.name + b"\n" for entry in blobs)
    found = git(path, "cat-file", "--batch", stdin=wanted, limit=total + 100 * len(blobs) + 1)
    position = 0
    for entry in entries:
        if entry.kind != b"blob":  # a submodule is an empty directory
            yield Member(path=entry.path, kind="directory")
            continue
        start = found.index(b"\n", position) + 1
        if found[position : start - 1] != b"%s blob %d" % (entry.name, entry.size):
            raise UserError(f"{path}: git has no {entry.path!r} of {revision[:10]}: fetch it whole")
        content = found[start : start + entry.size]
        position = start + entry.size + 1
        if entry.mode != b"120000":
            is_executable = entry.mode == b"100755"
            yield Member(path=entry.path, kind="file", is_executable=is_executable, content=content)
        elif stays_inside(entry.path, target := content.decode(errors="surrogateescape")):
            yield Member(path=entry.path, kind="symbolic link", target=target)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A line of `git ls-tree`."""

    path: str
    mode: bytes
    kind: bytes
    name: bytes
    """Of its object."""
    size: int


def _entries(path: Path, revision: str) -> Iterator[_Entry]:
    words = ("ls-tree", "-r", "-t", "-z", "-l", "--full-tree", revision)
    listed = git(path, *words, limit=LONGEST_LIST)
    for line in filter(None, listed.split(b"\0")):
        told, _, place = line.partition(b"\t")
        mode, kind, name, size = told.split()
        yield _Entry(
            path=place.decode(errors="surrogateescape"),
            mode=mode,
            kind=kind,
            name=name,
            size=int(size) if size.isdigit() else 0,
        )


def changed_files(path: Path, old: str, new: str) -> list[str]:
    """The files that differ between two revisions."""
    listed = git(path, "diff-tree", "-r", "--name-only", "--no-renames", "-z", old, new)
    return [name.decode(errors="surrogateescape") for name in listed.split(b"\0") if name]


def diff_revisions(path: Path, old: str, new: str, files: Sequence[str]) -> str:
    """What changes from `old` to `new` in `files`."""
    if not files:
        return ""
    return git(path, "diff-tree", *DIFF, old, new, "--", *files).decode(errors="surrogateescape")


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
    """Diffs between texts, made of objects in a scratch repository. None of them becomes a file."""

    def __init__(self, scratch: Path) -> None:
        self._directory = scratch
        git(scratch, "init", "-q", "--bare", "--template=", str(scratch))

    def diff(self, before: Mapping[str, str], after: Mapping[str, str]) -> str:
        """What changes from the files `before` to the files `after`, by relative path."""
        old, new = self._tree(before), self._tree(after)
        return git(self._directory, "diff-tree", *DIFF, old, new).decode(errors="surrogateescape")

    def _tree(self, files: Mapping[str, str]) -> str:
        entries = []
        for path, text in files.items():
            content = text.encode(errors="surrogateescape")
            name = git(self._directory, "hash-object", "-w", "--stdin", "--no-filters", stdin=content)
            entries.append(b"100644 %s\t%s\0" % (name.strip(), path.encode(errors="surrogateescape")))
        environment = {"GIT_INDEX_FILE": str(self._directory / "turnmix-index")}
        git(self._directory, "read-tree", "--empty", environment=environment)
        listed = b"".join(entries)
        git(self._directory, "update-index", "-z", "--index-info", environment=environment, stdin=listed)
        return git(self._directory, "write-tree", environment=environment).decode().strip()
