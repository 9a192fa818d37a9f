"""A file that somebody else may have made, read whole or refused: it may be endless, a pipe, or larger than memory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

MEBIBYTE = 1 << 20
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
                told = f"line {number} is longer than {longest / MEBIBYTE:g} MiB"
                raise OSError(errno.EFBIG, told, str(path))
            yield line


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
