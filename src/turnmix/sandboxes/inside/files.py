"""Reading and writing regular files on behalf of the host. Runs inside the sandbox.

A link the agent made leads somewhere inside the sandbox, whatever its target is called. Errors are OSError.
"""

from __future__ import annotations

import errno
import os
import stat

FLAGS = os.O_NONBLOCK | os.O_NOCTTY  # opening a pipe or a device must neither wait nor take a terminal
_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENOSPC, errno.EDQUOT)
"""What may prevent a second file beside the first, and not a change of the first."""


def read_file(path: bytes, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | FLAGS)
    try:
        _require_regular(descriptor)
        content = bytearray()
        while part := os.read(descriptor, min(1 << 20, limit + 1 - len(content))):
            content += part
            if len(content) > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return bytes(content)
    finally:
        os.close(descriptor)


def write_file(path: bytes, content: bytes) -> bytes:
    """The file afterwards holds all of `content` or, where this raises, is what it was before."""
    made = _make_directories(os.path.dirname(path))
    try:
        if os.path.islink(path):
            path = os.path.realpath(path)
        try:
            descriptor = os.open(path, os.O_WRONLY | FLAGS)
        except FileNotFoundError:
            _write_beside(path, content, 0o644 & ~_umask())
            return b""
        try:
            _overwrite(path, descriptor, content)
        finally:
            os.close(descriptor)
    except BaseException:
        _remove_directories(made)
        raise
    return b""


def _overwrite(path: bytes, descriptor: int, content: bytes) -> None:
    _require_regular(descriptor)
    status = os.fstat(descriptor)
    # By a link into /proc the agent could make this process write what it alone may write.
    if status.st_dev == os.stat("/proc").st_dev:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    if status.st_nlink == 1 and status.st_uid == os.geteuid():
        try:
            _write_beside(path, content, stat.S_IMODE(status.st_mode))
            return
        except OSError as error:
            if error.errno not in _IN_PLACE:
                raise
    _write_in_place(descriptor, content, status.st_size)


def _write_beside(path: bytes, content: bytes, mode: int) -> None:
    """Write a new file and let it take the place of the one at `path`."""
    # The directory is opened, because a path may have no room for a longer name.
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        name = b".turnmix-" + os.urandom(8).hex().encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            try:
                _write(descriptor, content)
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
            os.rename(name, os.path.basename(path), src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(name, dir_fd=directory)
            raise
    finally:
        os.close(directory)


def _write_in_place(descriptor: int, content: bytes, size: int) -> None:
    """Change a file that has other names, or no room beside it; all its room is taken before it changes."""
    if content:
        try:
            os.posix_fallocate(descriptor, 0, len(content))
        except BaseException:
            os.ftruncate(descriptor, size)
            raise
    _write(descriptor, content)
    os.ftruncate(descriptor, len(content))


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def _make_directories(path: bytes) -> list[bytes]:
    """Make `path` and what it lacks above it. Returns what was made, the uppermost first.

    In a loop: a path may hold more directories than Python recurses.
    """
    missing = []
    while True:
        try:
            os.lstat(path)
            break
        except FileNotFoundError:
            missing.append(path)
            path = os.path.dirname(path)
    made: list[bytes] = []
    try:
        for directory in reversed(missing):
            if not os.path.lexists(directory):  # it may be there by now, by way of `..`
                os.mkdir(directory)
                made.append(directory)
    except BaseException:
        _remove_directories(made)
        raise
    return made


def _remove_directories(made: list[bytes]) -> None:
    try:
        for directory in reversed(made):
            os.rmdir(directory)
    except OSError:  # the agent has put something there meanwhile
        pass


def _require_regular(descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number))
