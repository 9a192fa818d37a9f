"""Files and directories of a run, opened to be written: through no link, whoever put one there, and whenever.

In: a path, or a name and the descriptor of the directory that it is in, which then stays that directory whatever its
path comes to mean. Out: a descriptor; or an OSError, which says that a link, a pipe or the like stands in the place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from turnmix.core.bounded_file import LINK

OTHER_NAME = (
    "it is the same file as another one (a hard link), which would be written too: put a copy in its place"
)
NO_FILE = "it is no regular file: take it away"


def open_own(path: Path, flags: int, *, directory: int | None = None) -> int:
    """A regular file that has no other name. `directory`: that of `path.parent`, opened before.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    name = path if directory is None else path.name
    # Without O_NONBLOCK the opening of a pipe would wait for whoever reads it.
    safely = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, safely, 0o666, dir_fd=directory)
    except OSError as error:
        told = {errno.ELOOP: LINK, errno.ENXIO: NO_FILE}.get(error.errno or 0, error.strerror)
        raise OSError(error.errno, told, str(path)) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, OTHER_NAME if stat.S_ISREG(status.st_mode) else NO_FILE, str(path))


def open_own_directory(path: Path, *, directory: int | None = None, is_made: bool = False) -> int:
    """A directory, made before if `is_made` and it is not there. `directory`: as above. Raises OSError: as above."""
    name = path if directory is None else path.name
    if is_made:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=directory)
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        is_link = error.errno in (errno.ELOOP, errno.ENOTDIR) and stat.S_ISLNK(
            os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        )
        raise OSError(error.errno, LINK if is_link else error.strerror, str(path)) from error
