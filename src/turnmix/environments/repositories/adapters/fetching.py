"""The rows of a published set: of the hub, or of a file.

In: a hub id, or the path of a parquet or JSON Lines file. Out: its rows as dictionaries. Only a hub id
needs a network.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turnmix.core.bounded_file import bounded_lines, read_bounded
from turnmix.core.errors import InfrastructureError, MissingDependencyError, UserError, first_line
from turnmix.core.hub import hub_problem
from turnmix.core.json_text import MOST_BYTES, json_value
from turnmix.environments.repositories.adapters.registry import HUB_IDS, DatasetSettings


def fetch_rows(settings: DatasetSettings) -> Iterator[Mapping[str, Any]]:
    """
    Raises:
        UserError: there is no such file, or it holds no rows.
        MissingDependencyError: the package that reads it is not installed.
        InfrastructureError: the hub did not give it.
    """
    path = Path(settings.rows).expanduser()
    if path.suffix in (".jsonl", ".json", ".parquet"):
        if not path.is_file():
            raise UserError(f"tasks.dataset.rows: there is no file {path}")
        return _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)
    if path.exists():
        raise UserError(f"tasks.dataset.rows: {path}: give a file that ends in .parquet or .jsonl")
    return _hub_rows(settings)


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        if path.suffix == ".json":
            rows = json_value(_decoded(read_bounded(path, most=MOST_BYTES)))
            yield from rows if isinstance(rows, list) else [rows]
            return
        for line in map(_decoded, bounded_lines(path, longest=MOST_BYTES)):
            if not line.strip():
                continue
            try:
                yield json_value(line)
            except ValueError:
                yield {"instance_id": f"a line that is no JSON: {line[:40]}"}
    except OSError as error:
        remedy = ": give it as JSON Lines (.jsonl)" if error.errno == errno.EFBIG else ""
        raise UserError(f"tasks.dataset.rows: {path}: {error.strerror}{remedy}") from error
    except ValueError as error:
        raise UserError(f"tasks.dataset.rows: {path} is not JSON: {error}") from error


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise _missing("pyarrow") from error
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64):
            yield from batch.to_pylist()


def _hub_rows(settings: DatasetSettings) -> Iterator[Mapping[str, Any]]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise _missing("datasets") from error
    split = settings.split or HUB_IDS.get(settings.rows, ("", "train"))[1]
    problem = hub_problem(settings.rows, kind="dataset")
    try:
        with _offline(bool(problem)):
            rows = load_dataset(settings.rows, split=split, revision=settings.revision)
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        told = problem or first_line(error)
        raise InfrastructureError(
            f"tasks.dataset.rows: the hub did not give {settings.rows} ({split}): {told}. Check the name and "
            "the network, or name a parquet file that was downloaded elsewhere"
        ) from error
    return iter(rows)


@contextmanager
def _offline(is_offline: bool) -> Iterator[None]:
    """Only what is on this machine is looked at inside."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or is_offline
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(f"reading published task sets needs {package}: pip install 'turnmix[swe]'")
