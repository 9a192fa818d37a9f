"""A sweep's directory: the comparison that it runs, fixed before its first run, and a directory for each run.

comparison.yaml   the comparison file, to the byte
comparison.json   its digest, when it was fixed, its commit, and the machine
logs/             what each run's processes said
ARM-seed-N/       a run
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text, read_json_file
from turnmix.core.own_file import open_own, open_own_directory
from turnmix.store.lock import LOCK, locked
from turnmix.store.made_here import SEAL, seal
from turnmix.store.place import open_place
from turnmix.store.records import Record, checked

RECORD = "comparison.json"
COMPARISON = "comparison.yaml"
LOGS = "logs"
MOST_COMPARISON_BYTES = MEBIBYTE // 4
_ANOTHER = "name another directory with --output"


class SweepRecord(Record):
    """`comparison.json`."""

    name: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    fixed: str
    commit: dict[str, str] | None
    machine: dict[str, str | int]


class SweepDirectory:
    """An open sweep. Made by `open`, never directly."""

    def __init__(self, path: Path, *, lock: int, directory: int) -> None:
        self.path = path
        self._lock: int | None = lock
        self._directory = directory

    @classmethod
    def open(cls, path: Path, text: bytes, record: dict[str, Any]) -> SweepDirectory:
        """Begin the sweep that `text` says in a directory that is new or empty, or go on with it.

        Raises:
            UserError: it holds something else, or another comparison, or another process is running it.
        """
        has_begun(path, digest=record["digest"])
        try:
            directory = open_place(path)
            lock = locked(path, kind="sweep", option="--output", descriptor=directory)
            try:
                if not has_begun(path, digest=record["digest"]):
                    write_atomically(path / COMPARISON, text, directory=directory)
                    seal(path, text.decode(), descriptor=directory)
                    told = json_text(record, indent=2) + "\n"
                    write_atomically(path / RECORD, told, directory=directory)
                os.close(open_own_directory(path / LOGS, directory=directory, is_made=True))
            except BaseException:
                os.close(lock)
                raise
            return cls(path, lock=lock, directory=directory)
        except OSError as error:
            where = "" if error.filename in (None, str(path)) else f"{error.filename}: "
            raise UserError(f"sweep directory {path}: {where}{error.strerror}: {_ANOTHER}") from error

    def open_log(self, name: str) -> int:
        """A descriptor that appends to a run's log. Raises OSError: something else is in its place."""
        return open_own(self.log(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def log(self, name: str) -> Path:
        return self.path / LOGS / f"{name}.log"

    def close(self) -> None:
        """Free the lock. Safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            os.close(self._directory)
            self._lock = None


def has_begun(path: Path, *, digest: str) -> bool:
    """Is this sweep there, to go on with? Else it can begin there. Raises UserError: something else is there."""
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if RECORD in names:
        held = read_sweep(path)
        if held["digest"] != digest:
            raise UserError(
                f"{path} was begun by another comparison, fixed {held['fixed']}: sha256 {held['digest']} there, "
                f"{digest} here: put the file back as it was, or {_ANOTHER}"
            )
        return True
    taken = sorted(name for name in names - {LOCK, SEAL, COMPARISON} if not name.endswith(".partial"))
    if taken:
        raise UserError(f"sweep directory {path} is not empty ({taken[0]} is in it): {_ANOTHER}")
    return False


def holds_sweep(path: Path) -> bool:
    return os.path.lexists(path / RECORD)


def read_sweep(path: Path) -> dict[str, Any]:
    """`comparison.json`. Raises UserError: it is damaged."""
    fix = "put it back, or name another directory with --output"
    data = read_json_file(path / RECORD, fix=fix)
    checked(data, SweepRecord, where=str(path / RECORD), fix=fix)
    return data


def read_comparison_text(path: Path) -> bytes:
    """The comparison file that the sweep in `path` keeps. Raises UserError: it cannot be read."""
    file = path / COMPARISON
    with suppress(OSError):
        return read_bounded(file, most=MOST_COMPARISON_BYTES, follows_link=False)
    raise UserError(f"{file} cannot be read: put it back: it is the comparison's file")
