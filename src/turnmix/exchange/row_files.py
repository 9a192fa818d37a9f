"""Files of rows, made elsewhere: JSON lines, a JSON list, or Parquet.

In: paths and patterns of paths, untrusted content. Out: each row as a mapping, with where it stands; what is no row is
a `RowError`, and what is no file of rows a `UserError`.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.bounded_file import MEBIBYTE, bounded_lines, open_regular, read_bounded
from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.core.json_text import json_value

LONGEST_ROW = 64 * MEBIBYTE
"""Bytes of one row: many times a long trajectory."""
LONGEST_LIST = 256 * MEBIBYTE
"""Bytes of a file that is one JSON list, which is read whole."""
LARGEST_GROUP = 4096 * MEBIBYTE
"""Bytes, unpacked, of a group of rows of a Parquet file, which is read whole."""
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*LINES, ".json", ".parquet")
_BATCH = 16
_KINDS = (
    (str, "a text"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (Mapping, "an object"),
    (list, "a list"),
)
_PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz")


class RowError(ValueError):
    """A row that is no trajectory: the field, what is wrong with it, and what to do."""

    def __init__(self, field: str, wrong: str) -> None:
        super().__init__(f"{field}: {wrong}" if field else wrong)


def kind_of(value: Any) -> str:
    """What a value is, as who writes JSON calls it.

    >>> kind_of(3), kind_of({}), kind_of(None)
    ('a number', 'an object', 'null')
    """
    for types, kind in _KINDS:
        if isinstance(value, types):
            return kind
    return "null" if value is None else f"no JSON ({type(value).__name__})"


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was found."""

    path: Path
    number: int
    """Of its line, or of the row where a file has no lines; from 1."""
    value: dict[str, Any] | RowError

    @property
    def place(self) -> str:
        unit = "line" if self.path.suffix.lower() in LINES else "row"
        return f"{self.path}, {unit} {self.number}"


def matching_files(names: Sequence[str], *, field: str) -> list[Path]:
    """The files that paths and patterns such as `data/*.jsonl` name, in their order, those of a pattern by name.

    Raises:
        UserError: nothing is named, a file is not there, a pattern matches none, or it is no file of rows.
    """
    if not names:
        raise UserError(f"{field}: names no file: give one or more, such as {field}=mine.jsonl")
    found: dict[Path, None] = {}
    for name in names:
        expanded = os.path.expanduser(name)
        paths = [Path(expanded)]
        if not os.path.lexists(expanded):
            paths = [Path(each) for each in sorted(glob.glob(expanded, recursive=True))]
        if not paths:
            wrong = "matches no file" if glob.has_magic(expanded) else "is not there"
            raise UserError(
                f"{field}: {name} {wrong}: name a file that is, or a pattern such as data/*.jsonl"
            )
        for path in paths:
            if path.is_dir():
                raise UserError(f"{field}: {path} is a directory: name the files in it, as {path}/*.jsonl")
            if path.suffix.lower() not in SUFFIXES:
                fix = "unpack it, and name" if path.suffix.lower() in _PACKED else "name"
                raise UserError(
                    f"{field}: {path} is no file of rows: {fix} one that ends in {', '.join(SUFFIXES)}"
                )
            found.setdefault(path)
    return list(found)


def read_rows(path: Path, *, field: str) -> Iterator[Row]:
    """The rows of a file, one after the other.

    Raises:
        UserError: it cannot be read, or what is in it is not what its name ends in.
        MissingDependencyError: it is a Parquet file, and pyarrow is not installed.
    """
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet_rows(path, field=field)
        elif path.suffix.lower() == ".json":
            yield from _listed_rows(path, field=field)
        else:
            for number, line in enumerate(bounded_lines(path, longest=LONGEST_ROW), start=1):
                if line.strip():
                    yield Row(path, number, _row_of(line))
    except OSError as error:
        raise UserError(
            f"{field}: {path}: {error.strerror or error}: name a file of rows, such as JSON lines"
        ) from error


def _row_of(line: bytes) -> dict[str, Any] | RowError:
    try:
        return _mapping(json_value(line))
    except ValueError as error:
        return RowError("", f"not JSON ({error}): write one JSON object a line")


def _mapping(value: Any) -> dict[str, Any] | RowError:
    if isinstance(value, dict):
        return value
    return RowError("", f"is {kind_of(value)}, not an object: write one with the key messages")


def _listed_rows(path: Path, *, field: str) -> Iterator[Row]:
    content = read_bounded(path, most=LONGEST_LIST)
    try:
        value = json_value(content)
    except ValueError as error:
        lines = content.lstrip()[:1] == b"{" and b"\n" in content.strip()
        fix = "call it .jsonl, if each line is a row" if lines else "write a list of rows, or JSON lines"
        raise UserError(f"{field}: {path} is not JSON ({error}): {fix}") from error
    for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
        yield Row(path, number, _mapping(row))


def _parquet_rows(path: Path, *, field: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{field}: {path}: a Parquet file needs the package pyarrow: pip install 'turnmix[data]', or write JSON "
            "lines"
        ) from error
    try:
        with open_regular(path) as opened, pyarrow.parquet.ParquetFile(opened) as file:
            for group in range(file.metadata.num_row_groups):
                if file.metadata.row_group(group).total_byte_size > LARGEST_GROUP:
                    raise UserError(
                        f"{field}: {path}: a row group unpacks to more than {LARGEST_GROUP // MEBIBYTE:,} MiB: write "
                        "it with smaller ones"
                    )
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield Row(path, number, _without_nulls(row))
    except pyarrow.ArrowException as error:
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(f"{field}: {path} is no Parquet file ({first_line}): write it again") from error


def _without_nulls(value: Any) -> Any:
    """Arrow gives each mapping of a list the keys of all, with null where it had none."""
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    return [_without_nulls(member) for member in value] if isinstance(value, list) else value
