"""Records on disk: one JSON line each, appended whole, kept whatever happens to the process.

In: records with an id, in any order. Out: the same ones by id. A line is on the disk before `append` returns;
one that a crash cut short is dropped when the file is opened again; an id already held is not written twice.

To open a log reads no more of a line than its id, with which each line begins that was written here; a line is parsed,
and found damaged, when its record is asked for.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from turnmix.core.atomic_file import force_to_disk
from turnmix.core.bounded_file import MEBIBYTE, LineHead, line_heads, open_regular
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text, json_value
from turnmix.core.own_file import open_own
from turnmix.core.printable import printable_line
from turnmix.core.redaction import redacted
from turnmix.core.trajectory import Trajectory
from turnmix.store.records import checked
from turnmix.store.trajectory_records import TrajectoryRecord

FIX = "delete that line, or start a new run"
LONGEST_LINE = 64 * MEBIBYTE
"""Many times a long trajectory with the log-probability of each of its tokens."""
_HEAD_BYTES = 256
_ID = re.compile(rb'\{"id":("(?:[^"\\\x00-\x1f]|\\.)*")[,}]')
"""How a line begins that was written here."""


class AppendLog:
    """An append-only file of records, each with a string `id`. One process at a time may write it."""

    def __init__(self, path: Path, *, is_writable: bool = True, directory: int | None = None) -> None:
        """`directory`: a descriptor of `path.parent`, opened before.

        Raises:
            UserError: it holds something else than records.
            OSError: it cannot be opened, or a link, a pipe or the like stands in its place.
        """
        self.path = path
        self._spans: dict[str, tuple[int, int]] = {}
        """Start and length of each record's line, in bytes."""
        self._descriptor: int | None = None
        if is_writable:
            is_new = not path.exists()
            self._descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, directory=directory)
            if is_new:  # a line is on the disk only when the file's name is
                force_to_disk(path.parent) if directory is None else os.fsync(directory)
        whole = self._index()
        if self._descriptor is not None and whole < os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, whole)

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._spans

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def ids(self) -> tuple[str, ...]:
        """In the order in which they were written."""
        return tuple(self._spans)

    def records(self, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The records of these ids, in this order.

        Raises:
            KeyError: for an id not held.
            UserError: a line is damaged.
        """
        spans = [(record_id, *self._spans[record_id]) for record_id in ids]
        if not spans:
            return
        with open_regular(self.path, follows_link=False) as file:
            for record_id, start, length in spans:
                record = self._record(file, start, length)
                if record["id"] != record_id:
                    reason = f"it begins with the id {record_id!r}, and ends with another"
                    raise self._no_record(file, start, reason)
                yield record

    def append_record(self, record: Mapping[str, Any], *, is_forced: bool = True) -> bool:
        """Write one line and wait until it is on the disk. False: its id is held already, nothing is done.

        `is_forced`: False: the line is with the operating system when this returns, which keeps it whatever happens to
        this process, but not what happens to the machine.

        Raises:
            UserError: it is longer than a line that is read again; nothing is written.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path} was opened for reading only")
        if record["id"] in self._spans:
            return False
        line = redacted(json_text(record, separators=(",", ":"))).encode("ascii") + b"\n"
        if len(line) > LONGEST_LINE:
            raise UserError(
                f"{self.path}: {record['id']} would take {len(line) / MEBIBYTE:.0f} MiB, and a record has at most "
                f"{LONGEST_LINE // MEBIBYTE}: make shorter what the tasks' world says of it, by observations or by the "
                "details of its verdict"
            )
        start = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            if is_forced:
                os.fsync(self._descriptor)
        except OSError as error:
            # A full disk must not leave half a line for the next one to be glued to.
            os.ftruncate(self._descriptor, start)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._spans[record["id"]] = (start, len(line))
        return True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _index(self) -> int:
        """Find every whole line; the number of bytes they take."""
        position = 0
        if not os.path.lexists(self.path):
            return position
        try:
            with open_regular(self.path, follows_link=False) as file:
                for line in line_heads(file, head=_HEAD_BYTES, longest=LONGEST_LINE):
                    if not line.is_ended:
                        break
                    self._spans.setdefault(self._id_in(line, file), (line.start, line.length))
                    position += line.length
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from error
        return position

    def _id_in(self, line: LineHead, file: BinaryIO) -> str:
        if found := _ID.match(line.head):
            with contextlib.suppress(ValueError):
                return str(json_value(found[1]))
        # Someone else wrote it, or it is damaged.
        return str(self._record(file, line.start, line.length)["id"])

    def _record(self, file: BinaryIO, start: int, length: int) -> dict[str, Any]:
        """The record in a line. Raises UserError: it is none."""
        try:
            record: dict[str, Any] = json_value(os.pread(file.fileno(), length, start))
            if isinstance(record["id"], str):
                return record
            reason = f"its id is a {type(record['id']).__name__}, not a text"
        except (ValueError, TypeError, KeyError) as error:
            # Not its repr: that of a text that is no UTF-8 repeats the whole line.
            reason = f"{type(error).__name__}: {error}"
        raise self._no_record(file, start, reason)

    def _no_record(self, file: BinaryIO, start: int, reason: str) -> UserError:
        number = 1
        for line in line_heads(file, head=0, longest=LONGEST_LINE):
            if line.start >= start:
                break
            number += 1
        return UserError(f"{self.path}, line {number}: not a record of a run ({reason}): {FIX}")


class TrajectoryLog(AppendLog):
    """An append-only file of trajectories."""

    def __init__(self, path: Path, *, is_writable: bool = True, directory: int | None = None) -> None:
        super().__init__(path, is_writable=is_writable, directory=directory)
        self._batches: dict[str, list[str]] = {}
        self._num_grouped = 0

    def append(self, trajectory: Trajectory) -> bool:
        """As `append_record`."""
        return self.append_record(trajectory.to_json())

    def read(self, ids: Iterable[str]) -> Iterator[Trajectory]:
        """The trajectories of these ids, in this order.

        Raises:
            KeyError: for an id not held.
            UserError: a record is no trajectory.
        """
        for record in self.records(ids):
            where = printable_line(f"{self.path}: the trajectory {record['id']}")
            checked(record, TrajectoryRecord, where=where, fix=FIX)
            try:
                trajectory = Trajectory.from_json(record)
            except (TypeError, ValueError) as error:  # a key that is not ours, or a turn that is none
                raise UserError(printable_line(f"{where} is damaged ({error}): {FIX}")) from None
            yield trajectory

    def ids_of(self, batch: str) -> list[str]:
        """The ids of one batch, such as `i001`, in the order of its plans."""
        return sorted(self._grouped().get(batch, ()), key=lambda record_id: (len(record_id), record_id))

    @property
    def batches(self) -> list[str]:
        """In the order of their names."""
        return sorted(self._grouped())

    def _grouped(self) -> dict[str, list[str]]:
        """The ids held, by batch."""
        for record_id in islice(self._spans, self._num_grouped, None):
            self._batches.setdefault(record_id.rpartition("-")[0], []).append(record_id)
        self._num_grouped = len(self._spans)
        return self._batches
