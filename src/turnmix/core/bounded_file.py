"""A file that somebody else may have made, read whole or refused: it may be endless, a pipe, or larger than memory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MEBIBYTE = 1 << 20
_BLOCK = MEBIBYTE >> 2
"""Bytes read at once: they stay in the processor's cache while line ends are looked for."""
LINK = "it is a symbolic link, which is not followed: put what it leads to in its place"


def read_bounded(path: Path, *, most: int, follows_link: bool = True) -> bytes:
    """The bytes of a regular file. Raises OSError: it cannot be read, is no regular file, exceeds `most` bytes, or is a
    link that is not followed."""
    with open_regular(path, follows_link=follows_link) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most / MEBIBYTE:g} MiB", str(path))
    return content


def bounded_lines(path: Path, *, longest: int, follows_link: bool = True) -> Iterator[bytes]:
    """The lines of a regular file, one at a time. Raises OSError: as above, or a line exceeds `longest` bytes."""
    with open_regular(path, follows_link=follows_link) as file:
        number = 0
        while line := file.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise _too_long(number, longest)
            yield line


@dataclass(frozen=True, slots=True)
class LineHead:
    """Where a line lies in its file, in bytes, and how it begins."""

    start: int
    length: int
    """The line's end included."""
    head: bytes
    """Its first bytes."""
    is_ended: bool
    """False: the file's last line, which no line end follows."""


def line_heads(file: BinaryIO, *, head: int, longest: int) -> Iterator[LineHead]:
    """The lines of an open file, of each its first `head` bytes: several times as fast as to read them, and in the same
    memory however long they are. Raises OSError: it cannot be read, or a line exceeds `longest` bytes."""
    position, start, begun, number = 0, 0, b"", 1
    while block := os.pread(file.fileno(), _BLOCK, position):
        at = 0
        while at < len(block):
            end = block.find(b"\n", at)
            stop = len(block) if end < 0 else end + 1
            if len(begun) < head:
                begun += block[at : min(stop, at + head - len(begun))]
            if (length := position + stop - start) > longest:
                raise _too_long(number, longest)
            if end >= 0:
                yield LineHead(start, length, begun, is_ended=True)
                start, begun, number = position + stop, b"", number + 1
            at = stop
        position += len(block)
    if position > start:
        yield LineHead(start, position - start, begun, is_ended=False)


def _too_long(number: int, longest: int) -> OSError:
    return OSError(errno.EFBIG, f"line {number} is longer than {longest / MEBIBYTE:g} MiB")


@contextmanager
def open_regular(path: Path, *, follows_link: bool = True) -> Iterator[BinaryIO]:
    """A regular file, open to read bytes. Raises OSError: it cannot be read, or is a pipe, a device or the like, which
    may never answer or never end."""
    # Without O_NONBLOCK the opening of a pipe would already wait for who writes it.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follows_link else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follows_link:
            raise OSError(errno.ELOOP, LINK, str(path)) from error
        raise
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        yield file
