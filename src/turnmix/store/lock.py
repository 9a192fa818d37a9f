"""One writer a directory: its lock is held by an open file, and free when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.core.own_file import open_own

LOCK = ".lock"


def is_locked(directory: Path) -> bool:
    """Is a process writing it? Changes nothing."""
    try:
        descriptor = open_own(directory / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def locked(directory: Path, *, kind: str, option: str | None, descriptor: int | None = None) -> int:
    """The descriptor that holds the lock. `kind` of directory and the `option` that names another are for the error;
    `descriptor`: of the directory, opened before.

    Raises:
        UserError: another process holds it.
        OSError: the directory cannot be written.
    """
    lock = open_own(directory / LOCK, os.O_RDWR | os.O_CREAT, directory=descriptor)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        fix = "or stop it" if option is None else f"stop it, or name another directory with {option}"
        raise UserError(
            f"{kind} directory {directory} is being written by another process: wait for it, {fix}"
        ) from error
    return lock
