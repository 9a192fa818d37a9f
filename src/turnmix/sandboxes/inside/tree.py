"""Reading a whole tree of files on behalf of the host, a piece at a time. Runs inside the sandbox.

In: a directory, which what runs in the sandbox may be changing. Out: a stream of regular files (two lengths,
path, content), each whole. No link is followed below the directory, and opening a pipe does not wait.
"""

from __future__ import annotations

import os
import stat
import struct

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

HEAD = struct.Struct(">II")
ENTRY_BYTES = 512
"""What each entry of a directory takes of the limit, whatever it is: it bounds the work too."""
DEPTH = 256
"""Directories above one another, each of which takes a descriptor."""
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def read_tree(top: bytes, first: Sequence[bytes], without: Container[bytes], limit: int) -> Iterator[bytes]:
    """Pieces of the stream, some of them empty, in at most `limit` bytes: the files in `first`, then all others in
    their order, but for what has a name in `without`. What cannot be read, or does not fit, is left out.

    Raises OSError: there is no directory to read.
    """
    directories = [os.open(top, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        left = limit
        for path in first:
            piece = _framed(directories[0], path, path, left)
            left -= len(piece)
            yield piece
        given = set(first)
        levels = [(b"", _names(directories[0], left))]
        while levels and left > 0:
            above, names = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                os.close(directories.pop())
                continue
            piece, path = b"", above + name
            mode = 0 if name in without else _mode(directories[-1], name)
            if stat.S_ISREG(mode) and path not in given:
                piece = _framed(directories[-1], name, path, left - ENTRY_BYTES)
            elif stat.S_ISDIR(mode) and len(levels) < DEPTH:
                below = _opened(directories[-1], name, os.O_DIRECTORY)
                if below >= 0:
                    directories.append(below)
                    levels.append((path + b"/", _names(below, left)))
            left -= ENTRY_BYTES + len(piece)
            yield piece
    finally:
        for directory in directories:
            os.close(directory)


def files_of(stream: bytes) -> dict[bytes, bytes]:
    """The files of what `read_tree` made, as far as it is whole; read by the host, which trusts none of it."""
    files: dict[bytes, bytes] = {}
    position = 0
    while position + HEAD.size <= len(stream):
        path_bytes, content_bytes = HEAD.unpack_from(stream, position)
        start = position + HEAD.size
        position = start + path_bytes + content_bytes
        if position <= len(stream):
            files[stream[start : start + path_bytes]] = stream[start + path_bytes : position]
    return files


def _names(directory: int, left: int) -> Iterator[bytes]:
    """Names in their order; no more than the limit has room for."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry, _ in zip(entries, range(left // ENTRY_BYTES + 1))]
    except OSError:
        return iter(())
    return map(os.fsencode, sorted(found))


def _mode(directory: int, name: bytes) -> int:
    try:
        return os.lstat(name, dir_fd=directory).st_mode
    except OSError:
        return 0


def _opened(directory: int, name: bytes, flags: int = 0) -> int:
    """A descriptor, or -1."""
    try:
        return os.open(name, FLAGS | flags, dir_fd=directory)
    except OSError:
        return -1


def _framed(directory: int, name: bytes, path: bytes, left: int) -> bytes:
    """The file as it stands in the stream; nothing where it is none, cannot be read, or takes more than `left`."""
    descriptor = _opened(directory, name)
    if descriptor < 0:
        return b""
    try:
        status = os.fstat(descriptor)
        room = left - HEAD.size - len(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > room:
            return b""
        content = os.read(descriptor, status.st_size + 1)
        while len(content) <= room and (more := os.read(descriptor, room + 1 - len(content))):
            content += more  # it grows
        return HEAD.pack(len(path), len(content)) + path + content if len(content) <= room else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
