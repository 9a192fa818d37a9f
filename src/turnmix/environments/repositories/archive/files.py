"""A repository's tree as a tar archive that is named by its content. Equal trees give equal archives.

In: a tree's members, or a task file that a stranger may have written, with its `archives/<digest of the
tar>.tar.gz`. Out: an archive of regular files, directories, and links that stay inside the tree; it is unpacked
in sandboxes alone.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import posixpath
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

from turnmix.core.atomic_file import write_atomically
from turnmix.core.errors import UserError
from turnmix.environments.tar_members import (
    TREE_LIMITS,
    MalformedArchive,
    Member,
    Places,
    TreeLimits,
    inside,
    is_gits,
    read_members,
)
from turnmix.environments.tar_writer import pack_members

PIECE = 1 << 16


def store_archive(task_file: Path, content: bytes) -> str:
    """Store a tar archive beside `task_file`, once. Returns what the row's `archive` says."""
    name = f"archives/{hashlib.sha256(content).hexdigest()}.tar.gz"
    path = task_file.parent / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, gzip.compress(content, mtime=0))
    return name


def load_archive(task_file: Path, name: str, limits: TreeLimits = TREE_LIMITS) -> bytes:
    """The tree that `store_archive` stored, as a tar archive of our own making.

    Raises:
        UserError: it is gone, is not what its name says, or holds what no tree may hold.
    """
    path = task_file.parent / name
    try:
        with _opened(path, limits.total_bytes) as file:
            tree = _Gunzipped(file)
            members = read_members(io.BufferedReader(tree, PIECE), limits)
            content = pack_members(checked(members, limits))
    except OSError as error:
        raise UserError(f"tasks.path: {path} cannot be read ({error}): copy it with the task file") from error
    except zlib.error as error:
        raise UserError(
            f"tasks.path: {path} is damaged ({str(error).rpartition(': ')[2]}): copy it with the task file again"
        ) from error
    except MalformedArchive as error:
        raise UserError(
            f"tasks.path: {path}: {error}: copy it with the task file again, or make it anew"
        ) from error
    if tree.digest.hexdigest() != Path(name).name.partition(".")[0]:
        raise UserError(f"tasks.path: {path} is not what its name says: copy it with the task file again")
    return content


def checked(members: Iterable[Member], limits: TreeLimits = TREE_LIMITS) -> Iterator[Member]:
    """Members that can be laid one after the other, each in its place.

    Raises:
        MalformedArchive: one cannot, or is a link that leads out of the tree.
    """
    places = Places(limits)
    for member in members:
        if member.kind == "symbolic link" and not stays_inside(inside(member.path, limits), member.target):
            raise MalformedArchive(f"member {member.path!r} is a link that leads out of the tree")
        if placed := places.take(member):
            yield placed


def stays_inside(path: str, target: str) -> bool:
    """Whether a link at `path` leads to a place in the tree, also where it leads by way of others that do.

    >>> [stays_inside("a/b", target) for target in ("c", "../c", "../../c", "/c", "c/../../..")]
    [True, True, False, False, False]
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    levels = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    is_plain = bool(target) and not target.startswith("/") and "\0" not in target
    return is_plain and ".." not in parts[levels:] and levels <= path.count("/") and len(target) < 1024


def text_files(members: Iterable[Member]) -> dict[str, str]:
    """All regular files but byte code, by path. Bytes that are no UTF-8 are kept as half surrogate pairs."""
    return {
        member.path: member.content.decode(errors="surrogateescape")
        for member in members
        if member.kind == "file" and "__pycache__" not in member.path.split("/")
    }


def pack_tree(directory: Path) -> bytes:
    """A tar archive of everything in `directory` but `.git`: sorted, without times and owners.

    Raises:
        UserError: it holds too much.
    """
    return pack_members(directory_members(directory))


def directory_members(
    directory: Path, *, left_out: Sequence[str] = (), limits: TreeLimits = TREE_LIMITS
) -> Iterator[Member]:
    """Everything in `directory`, in order, but what belongs to git, names that fit a pattern of `left_out`, links
    that lead out, pipes and devices.

    Raises:
        UserError: it holds too much, or cannot be read.
    """
    try:
        yield from checked(_found(directory, "", left_out, limits), limits)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}: make it readable") from error
    except MalformedArchive as error:
        raise UserError(f"{directory} {error}: name a smaller one") from error


def _found(directory: Path, above: str, left_out: Sequence[str], limits: TreeLimits) -> Iterator[Member]:
    total = 0
    waiting = [*sorted(os.listdir(directory), reverse=True)]
    while waiting:
        path = waiting.pop()
        if is_gits(posixpath.basename(path)) or any(fnmatch(posixpath.basename(path), p) for p in left_out):
            continue
        place = directory / path
        mode = place.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield Member(path=path, kind="directory")
            waiting += [f"{path}/{name}" for name in sorted(os.listdir(place), reverse=True)]
        elif stat.S_ISLNK(mode):
            target = os.readlink(place)
            if stays_inside(path, target):
                yield Member(path=path, kind="symbolic link", target=target)
        elif stat.S_ISREG(mode):
            content = _read_regular(place, limits.file_bytes)
            total += len(content)
            if total > limits.total_bytes:
                raise MalformedArchive(f"holds more than {limits.total_bytes >> 20} MiB")
            yield Member(path=path, kind="file", is_executable=bool(mode & 0o100), content=content)


def _read_regular(path: Path, limit: int) -> bytes:
    try:
        with _opened(path, limit) as file:
            return file.read(limit + 1)
    except MalformedArchive as error:
        raise MalformedArchive(f"holds {path}, which {error}") from error


class _Gunzipped(io.RawIOBase):
    """The content of one gzip member: never more of it in memory than is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._gunzip = zlib.decompressobj(wbits=31)
        self.digest = hashlib.sha256()
        """Of what was read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Raises zlib.error, and MalformedArchive where the file ends early or goes on too long."""
        while not self._gunzip.eof:
            compressed = self._gunzip.unconsumed_tail or self._file.read(PIECE)
            if content := self._gunzip.decompress(compressed, len(buffer)):
                self.digest.update(content)
                buffer[: len(content)] = content
                return len(content)
            if not compressed:
                raise MalformedArchive("is cut short")
        if self._gunzip.unused_data or self._file.read(1):
            raise MalformedArchive("goes on behind its end")
        return 0


@contextmanager
def _opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    """A regular file of at most `limit` bytes; a pipe is not waited for. Raises OSError, MalformedArchive."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MalformedArchive("is no regular file")
        if status.st_size > limit:
            raise MalformedArchive(f"takes {status.st_size >> 20} MiB, and {limit >> 20} are read at most")
        yield file
