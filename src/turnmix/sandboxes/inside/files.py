"""Reading and writing regular files on behalf of the host. Runs inside the sandbox.

A link the agent made leads somewhere inside the sandbox, whatever its target is called. Errors are OSError.
"""

from __future__ import annotations

import errno
import os
import stat

FLAGS = os.O_NONBLOCK | os.O_NOCTTY  # opening a pipe or a device must neither wait nor take a terminal


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
    _make_directories(os.path.dirname(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | FLAGS, 0o644)
    try:
        _require_regular(descriptor)
        # By a link into /proc the agent could make this process write what it alone may write.
        if os.fstat(descriptor).st_dev == os.stat("/proc").st_dev:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        os.ftruncate(descriptor, 0)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
    return b""


def _make_directories(path: bytes) -> None:
    """`path` and what it lacks above it. In a loop: a path may hold more directories than Python recurses."""
    missing = []
    while True:
        try:
            os.lstat(path)
            break
        except FileNotFoundError:
            missing.append(path)
            path = os.path.dirname(path)
    for directory in reversed(missing):
        if not os.path.lexists(directory):  # it may be there by now, by way of `..`
            os.mkdir(directory)


def _require_regular(descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number))
