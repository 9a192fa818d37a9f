"""What a scaffold says, in a file of its own: bounded, and without keys.

In: pieces of output. Out: a file that holds the first part and the last part of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from turnmix.core.own_file import open_own, open_own_directory
from turnmix.core.printable import printable_line
from turnmix.core.redaction import HIDDEN, redacted_bytes

FOLDER = "scaffold-logs"
"""Of a run or an evaluation: a file for each trajectory."""
HALF = 256 << 10
"""Bytes that are kept of the beginning, and as many of the end."""
_LONGEST_LINE = 64 << 10
_TOLD_LINES = 8
_TOLD_BYTES = 4 << 10


class ScaffoldLog:
    """Of one trajectory."""

    def __init__(self, descriptor: int | None, *, secrets: Sequence[str] = ()) -> None:
        """`descriptor`: of the file, owned from now on; None: nothing is written, the end alone is kept. `secrets`: the
        keys that the scaffold was given."""
        self._descriptor = descriptor
        self._secrets = [secret.encode() for secret in secrets]
        self._room = HALF
        """For the beginning, in the file."""
        self._end = bytearray()
        self._num_dropped = 0
        """Bytes between the two."""
        self._last = b""
        self._line = b""
        """What has no line end yet."""

    def write(self, data: bytes) -> None:
        """A line at a time, so that no key is cut in two where it is looked for."""
        whole = self._line + data
        end = max(whole.rfind(b"\n"), whole.rfind(b"\r")) + 1
        if len(whole) - end > _LONGEST_LINE:
            end = len(whole)
        self._line = whole[end:]
        if end:
            self._keep(self._clean(whole[:end]))

    def tail(self) -> list[str]:
        """The last lines, as a message shows them."""
        lines = (self._last + self._clean(self._line)).decode("utf-8", "replace").splitlines()
        return [f"  {printable_line(line)}" for line in lines[-_TOLD_LINES:]]

    def close(self) -> None:
        """Write what is kept of the end. Safe to call twice."""
        self._keep(self._clean(self._line))
        self._line = b""
        if self._descriptor is None:
            return
        if self._num_dropped:
            self._write(b"\n[%d bytes left out]\n" % self._num_dropped)
        self._write(self._end)
        os.close(self._descriptor)
        self._descriptor = None

    def _keep(self, data: bytes) -> None:
        self._last = (self._last + data)[-_TOLD_BYTES:]
        self._write(data[: self._room])
        rest = data[self._room :]
        self._room -= len(data) - len(rest)
        self._end += rest
        excess = max(0, len(self._end) - HALF)
        del self._end[:excess]
        self._num_dropped += excess

    def _write(self, data: bytes | bytearray) -> None:
        if self._descriptor is not None and data:
            with contextlib.suppress(OSError):  # a full disk costs the log, not the trajectory
                os.write(self._descriptor, data)

    def _clean(self, data: bytes) -> bytes:
        for secret in self._secrets:
            data = data.replace(secret, HIDDEN.encode())
        return redacted_bytes(data)


@contextlib.contextmanager
def opened_log(
    directory: Path | None, trajectory_id: str, *, is_first: bool, secrets: Sequence[str]
) -> Iterator[ScaffoldLog]:
    """The log of a trajectory, in the folder of its run or evaluation. `is_first`: what an earlier attempt said goes.

    Raises OSError: it cannot be written.
    """
    descriptor = None
    if directory is not None:
        folder = open_own_directory(directory / FOLDER, is_made=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if is_first else os.O_APPEND)
            descriptor = open_own(directory / FOLDER / f"{trajectory_id}.log", flags, directory=folder)
        finally:
            os.close(folder)
    log = ScaffoldLog(descriptor, secrets=secrets)
    try:
        yield log
    finally:
        log.close()
