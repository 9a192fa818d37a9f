"""A test log's meaning: by TurnMix's own readers, or by swebench's parsers and report.

In: a row and the log of its evaluation script. Out: how many of its FAIL_TO_PASS and PASS_TO_PASS pass, and
whether that is resolved. A test that is absent from the log has failed; skipped FAIL_TO_PASS too.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.errors import InfrastructureError, MissingDependencyError
from turnmix.environments.repositories.adapters.evaluation_script import END, START
from turnmix.environments.repositories.logs.log_readers import PYTEST_PARSERS, READERS
from turnmix.environments.repositories.logs.timings import TimedOutcomes
from turnmix.environments.repositories.task_file import TaskRow

INSTALL = "pip install 'turnmix[swe]'"
_importing = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCounts:
    """What a row's tests came to."""

    __test__ = False  # no test of pytest's

    resolved: bool
    passed: int
    failed: int


def check_swebench(row: TaskRow) -> None:
    """Raises MissingDependencyError: the row's log is for swebench to read, which is not here. Imports nothing."""
    if row.log_parser not in READERS and importlib.util.find_spec("swebench") is None:
        raise MissingDependencyError(f"grading {row.instance_id} needs the package swebench: {INSTALL}")


def reader_version(row: TaskRow) -> str:
    """The version of what is not TurnMix's own and reads the row's log; empty where nothing is. Raises as
    `check_swebench` does."""
    if row.image is None or row.log_parser in READERS:
        return ""
    check_swebench(row)
    return importlib.metadata.version("swebench")


def unknown_parser(name: str) -> str:
    """What is wrong with the name of a parser, and the names there are; empty where nothing is, or where swebench,
    whose name it may be, is not installed."""
    if name in READERS or name in PYTEST_PARSERS or importlib.util.find_spec("swebench") is None:
        return ""
    known = {*READERS, *_swebench().log_parsers.PARSER_REGISTRY}
    return "" if name in known else f"{name!r} is no parser that is known here: {', '.join(sorted(known))}"


def check_parser(row: TaskRow) -> None:
    """
    Raises:
        MissingDependencyError: swebench is not installed, or is too old.
        InfrastructureError: nothing here reads the row's log.
    """
    check_swebench(row)
    if problem := unknown_parser(row.log_parser):
        raise InfrastructureError(f"{row.instance_id}: log_parser: {problem}")


def count_tests(row: TaskRow, patch: bytes, log: bytes) -> TestCounts:
    """What the tests came to; unresolved where the tested code printed what the parser breaks at.

    Raises:
        MissingDependencyError, InfrastructureError: as `check_parser`.
    """
    check_parser(row)
    tests = (*row.fail_to_pass, *row.pass_to_pass)
    try:
        if row.log_parser in READERS or _may_hold_timings(row):
            outcomes = _read(row, log.decode(errors="replace"))
            if _may_hold_timings(row):
                passed = sum(map(TimedOutcomes(outcomes).passes, tests))
            else:
                passed = sum(outcomes.get(test) == "PASSED" for test in tests)
            return TestCounts(resolved=passed == len(tests), passed=passed, failed=len(tests) - passed)
        report = swebench_report(row, patch, log)
    except MissingDependencyError:
        raise
    except (
        Exception
    ):  # any kind: swebench's parsers index into words, and convert numbers, of what lines hold
        return TestCounts(resolved=False, passed=0, failed=len(tests))
    groups = report.get("tests_status", {})
    passed = sum(len(groups.get(name, {}).get("success", ())) for name in ("FAIL_TO_PASS", "PASS_TO_PASS"))
    return TestCounts(resolved=bool(report["resolved"]), passed=passed, failed=len(tests) - passed)


def _may_hold_timings(row: TaskRow) -> bool:
    """Whether the row's names come from runners that write times behind them. Pytest's own end in parameters."""
    return row.source == "swe-rebench" and row.log_parser not in PYTEST_PARSERS


def _read(row: TaskRow, log: str) -> Mapping[str, str]:
    """Outcomes by test."""
    if row.log_parser == "r2e":
        return READERS["r2e"](log)
    _, _, begun = log.partition(START)
    told, ended, _ = begun.rpartition(END)
    if not ended:  # the tests did not come to their end
        return {}
    if row.log_parser in READERS:
        return READERS[row.log_parser](told)
    outcomes: Mapping[str, str] = _swebench().log_parsers.PARSER_REGISTRY[row.log_parser](
        told, _specification(row)
    )
    return outcomes


def swebench_report(row: TaskRow, patch: bytes, log: bytes) -> dict[str, Any]:
    """The report that swebench makes of a log."""
    harness = _swebench()
    prediction = {
        "instance_id": row.instance_id,
        "model_name_or_path": "turnmix",
        "model_patch": patch.decode(errors="replace"),
    }
    with tempfile.TemporaryDirectory(prefix="turnmix-") as directory:
        path = Path(directory) / "test_output.txt"
        # It reads the file as the locale's text, and stops at what is none.
        path.write_text(log.decode("utf-8", "replace"))
        report: dict[str, Any] = harness.grading.get_eval_report(
            test_spec=_specification(row),
            prediction=prediction,
            test_log_path=str(path),
            include_tests_status=True,
        )[row.instance_id]
    return report


def _specification(row: TaskRow) -> Any:
    from swebench.types import TestSpec

    return TestSpec(
        instance_id=row.instance_id,
        image=row.image or "",
        eval_script_list=[],
        repo=row.repository,
        version="",
        FAIL_TO_PASS=list(row.fail_to_pass),
        PASS_TO_PASS=list(row.pass_to_pass),
        log_parser=row.log_parser,
        eval_type=row.evaluation_type,
    )


def _swebench() -> Any:
    """Its package `harness`, with what is used of it."""
    # Threads that import a package with cycles at one moment may see half of it.
    with _importing:
        try:
            version = importlib.import_module("swebench").__version__
            importlib.import_module("swebench.harness.grading")
            harness = importlib.import_module("swebench.harness")
        except ImportError as error:
            raise MissingDependencyError(
                f"grading by swebench's parsers needs the package swebench: {INSTALL} ({error})"
            ) from error
    if int(version.partition(".")[0]) < 5:
        raise MissingDependencyError(f"grading needs swebench 5, not {version}: {INSTALL}")
    return harness
