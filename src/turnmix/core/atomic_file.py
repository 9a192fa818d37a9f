"""Files and directories that appear whole: a reader, or a crash, finds the old content or the new one.

In: a path and its new content. Out: the content on the disk, and the entry that names it too. What cannot be
written leaves the old content, and nothing half-made beside it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content`, and return when it is on the disk. Raises OSError: it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):  # a full disk does not name the file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    force_to_disk(path.parent)


def force_to_disk(path: Path) -> None:
    """Return when a file's content, or a directory's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
