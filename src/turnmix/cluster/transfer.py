"""A directory from one machine to another, a piece at a time, through whoever holds its other end.

In: a directory, and the handle of a Ray actor that is a `DirectoryDesk`. Out: the same files at the other end. No piece
is larger than `PIECE`, and a sender has no more than `UNDER_WAY` of them on the way.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

PIECE = 16 << 20
UNDER_WAY = 4
MOVING = "moving"
"""The concurrency group of the desk that reads and writes pieces."""
MARK = "mark"
"""A file by which a process of another machine knows a directory again."""


class DirectoryDesk:
    """One end: reads a directory, and writes another one."""

    def __init__(
        self, *, source: Path | None, target: Path | None = None, without: Sequence[str] = ()
    ) -> None:
        """`source`: what is read; `without`: files of it that are not. `target`: what is written."""
        self._source = source
        self._without = without
        self._target = target

    def listing(self) -> list[tuple[str, int]]:
        """The files of what is read, by their path in it, with their sizes."""
        assert self._source is not None
        files = [path for path in sorted(self._source.rglob("*")) if path.is_file()]
        files = [path for path in files if path.name not in self._without]
        return [(path.relative_to(self._source).as_posix(), path.stat().st_size) for path in files]

    def piece(self, name: str, offset: int) -> bytes:
        """Of a file that is read."""
        assert self._source is not None
        with (self._source / name).open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)

    def begin_writing(self) -> None:
        """What another sender left unfinished is deleted."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)

    def write(self, name: str, offset: int, data: bytes) -> None:
        """A piece of a file. Pieces may come in any order."""
        where = PurePosixPath(name)
        if where.is_absolute() or ".." in where.parts:
            raise ValueError(f"{name!r} leads out of the directory")
        path = self._partial / where
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        with open(descriptor, "wb") as file:
            file.seek(offset)
            file.write(data)
            file.flush()
            os.fsync(descriptor)

    def end_writing(self) -> None:
        """All is there: it appears under its name."""
        assert self._target is not None
        self._partial.rename(self._target)

    @property
    def _partial(self) -> Path:
        assert self._target is not None
        return self._target.with_name(f".{self._target.name}.partial")


def _moving(method: Any) -> Any:
    """In threads of their own, so that what is asked beside it is answered."""
    return method.options(concurrency_group=MOVING)


def sees(directory: Path, mark: str) -> bool:
    """Does this process see that very directory?"""
    try:
        return (directory / MARK).read_text() == mark
    except OSError:
        return False


def fetch_directory(desk: Any, target: Path) -> None:
    """What the desk reads, as `target`."""
    import ray

    shutil.rmtree(target, ignore_errors=True)
    for name, size in ray.get(desk.listing.remote()):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted: deque[Any] = deque()
        with path.open("wb") as file:
            for offset in range(0, size, PIECE):
                wanted.append(_moving(desk.piece).remote(name, offset))
                if len(wanted) == UNDER_WAY:
                    file.write(ray.get(wanted.popleft()))
            while wanted:
                file.write(ray.get(wanted.popleft()))


def send_directory(desk: Any, source: Path) -> None:
    """`source`, to where the desk writes."""
    import ray

    ray.get(desk.begin_writing.remote())
    under_way: deque[Any] = deque()
    for path in sorted(each for each in source.rglob("*") if each.is_file()):
        name = path.relative_to(source).as_posix()
        with path.open("rb") as file:
            for offset in range(0, max(path.stat().st_size, 1), PIECE):
                under_way.append(_moving(desk.write).remote(name, offset, file.read(PIECE)))
                if len(under_way) == UNDER_WAY:
                    ray.get(under_way.popleft())
    while under_way:
        ray.get(under_way.popleft())
    ray.get(desk.end_writing.remote())
