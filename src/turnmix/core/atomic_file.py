"""Files and directories that appear whole: a reader, or a crash, finds the old content or the new one.

In: a path and its new content. Out: the content on the disk, less the secrets of this process, and the entry that
names it too. What cannot be written leaves the old content, and nothing half-made beside it. A link in the place of
the file, or of its half-made one, is replaced, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from turnmix.core.redaction import redacted_bytes

_MOST_TRIES = 8
"""To replace what a killed process left, while another one may leave more."""


def write_atomically(path: Path, content: str | bytes, *, directory: int | None = None) -> None:
    """Replace `path` by `content`, and return when it is on the disk. `directory`: a descriptor of `path.parent`, where
    that must be the directory that it was before. Raises OSError: it cannot be written."""
    partial = f".{path.name}.partial"
    held = None
    try:
        held = _opened(path.parent) if directory is None else os.dup(directory)
        with open(_new(partial, held), "wb") as file:
            file.write(redacted_bytes(content.encode("utf-8") if isinstance(content, str) else content))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path.name, src_dir_fd=held, dst_dir_fd=held)
        os.fsync(held)
    except BaseException as error:
        if held is not None:
            with contextlib.suppress(OSError):
                os.unlink(partial, dir_fd=held)
        if isinstance(error, OSError):  # a full disk does not name the file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if held is not None:
            os.close(held)


def force_to_disk(path: Path) -> None:
    """Return when a file's content, or a directory's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _new(name: str, directory: int) -> int:
    """A file that was not there before."""
    for _ in range(_MOST_TRIES):
        with contextlib.suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(name, flags, 0o666, dir_fd=directory)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
