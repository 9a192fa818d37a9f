"""The files of a run that hold one record each, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turnmix.core.json_text import read_json_file
from turnmix.store.analysis_records import AnalysisRecord
from turnmix.store.records import (
    ClockRecord,
    EvaluationRecord,
    Record,
    ResultsRecord,
    SummaryRecord,
    TrackersRecord,
    VersionsRecord,
    checked,
)


def read_evaluation(path: Path, *, fix: str) -> dict[str, Any]:
    """`evaluation.json`. Raises UserError, with the `fix`: it is damaged."""
    return _read(path, EvaluationRecord, fix=fix)


def read_analysis(path: Path, *, fix: str) -> dict[str, Any]:
    """`analysis.json`. Raises UserError, with the `fix`: it is damaged."""
    return _read(path, AnalysisRecord, fix=fix)


def read_results(path: Path) -> dict[str, Any]:
    """`results.json`. Raises UserError: it is damaged."""
    return _read(path, ResultsRecord, fix="delete it, and evaluate again")


def read_summary(path: Path, *, fix: str) -> dict[str, Any]:
    """`summary.json`. Raises UserError, with the `fix`: it is damaged."""
    return _read(path, SummaryRecord, fix=fix)


def read_clock(path: Path) -> dict[str, Any]:
    """`clock.json`. Raises UserError: it is damaged."""
    return _read(path, ClockRecord, fix="delete it: nothing but durations is lost with it")


def read_versions(path: Path) -> dict[str, Any]:
    """`versions.json`. Raises UserError: it is damaged."""
    return _read(path, VersionsRecord, fix="put it back, or delete the directory")


def read_trackers(path: Path) -> dict[str, str]:
    """`trackers.json`. Raises UserError: it is damaged."""
    fix = "delete it"
    data = read_json_file(path, fix=fix)
    checked({"ids": data}, TrackersRecord, where=str(path), fix=fix)
    return data


def _read(path: Path, schema: type[Record], *, fix: str) -> dict[str, Any]:
    data = read_json_file(path, fix=fix)
    checked(data, schema, where=str(path), fix=fix)
    return data
