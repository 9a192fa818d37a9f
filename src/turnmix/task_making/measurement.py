"""Which tests a fix turns: measured by running them in sandboxes, three times on each side.

In: rows and patches to run. Out: FAIL_TO_PASS and PASS_TO_PASS without the tests that cannot make up
their mind: twice before the row is written, and once more with the finished row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from turnmix.environments.repositories.archive.execution import ExecuteTests, Execution
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.task_making.pytest_error import pytest_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the tests came to in several runs of the same code."""

    passing: frozenset[str]
    """Passed every time."""
    failing: Mapping[str, str]
    """Failed every time; with the reason. Tests that are absent are not here."""
    unstable: frozenset[str]
    """All others: skipped, or not always the same."""
    seconds: float
    """Of one run."""
    log: str

    @property
    def has_begun(self) -> bool:
        """Whether pytest came to any test, or module of tests, at all."""
        return bool(self.passing or self.failing or self.unstable)

    def fails(self, test: str) -> bool:
        """Failed, or was not even there, every time."""
        return test not in self.passing and test not in self.unstable


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """Tests that cannot be measured."""

    reason: str


async def measure(
    row: TaskRow, archive: bytes, patch: bytes, *, execute: ExecuteTests, first: Execution | None = None
) -> Measured | Unmeasured:
    """Run the tests of `row` on `patch` twice.

    `first`: an execution of the same that was made already.

    Raises:
        InfrastructureError: a sandbox failed.
    """
    started = time.monotonic()
    runs = [first] if first is not None else []
    while len(runs) < 2:
        runs.append(await execute(row, archive, patch))
        if not runs[-1].applied:
            return Unmeasured(reason=f"its code does not apply: {_last_line(runs[-1].log)}")
        if not runs[-1].is_complete:
            return Unmeasured(reason=_how_far(runs[-1], row.timeout_seconds))
    return settle(runs, seconds=(time.monotonic() - started) / (2 if first is None else 1))


def _how_far(run: Execution, seconds: float) -> str:
    if not run.outcomes:
        return f"its tests do not come to an end within {seconds:g} s (--timeout): {_last_line(run.log)}"
    return (
        f"its tests do not come to an end within {seconds:g} s (--timeout): {len(run.outcomes)} had ended, the last "
        f"of them {list(run.outcomes)[-1]}: give them more time, or name fewer by --tests"
    )


def _last_line(log: str) -> str:
    return (log.strip().splitlines() or ["nothing was printed"])[-1]


def why_none_pass(measured: Measured) -> str:
    """Why no test passes: where pytest did not begin, in its own words; else how the first one fails."""
    if not measured.has_begun or not measured.failing:
        return f"pytest ran no test: {pytest_error(measured.log)}"
    test, message = next(iter(measured.failing.items()))
    return f"none of {len(measured.failing)} tests passes; {test}: {pytest_error(message)}"


def settle(runs: Sequence[Execution], *, seconds: float) -> Measured:
    """What several runs of the same code agree on."""
    tests = {test for run in runs for test in run.outcomes}
    passing = frozenset(test for test in tests if all(run.passes(test) for run in runs))
    failing = {
        test: runs[-1].messages[test]
        for test in sorted(tests)
        if all(run.outcomes.get(test) in ("failed", "error") for run in runs)
    }
    return Measured(
        passing=passing,
        failing=failing,
        unstable=frozenset(tests - passing - set(failing)),
        seconds=seconds,
        log=runs[-1].log,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedTests:
    """What a fix does to the tests."""

    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]


def compare(broken: Measured, fixed: Measured) -> TurnedTests:
    """The tests that the fix turns, and those that it leaves passing."""
    return TurnedTests(
        fail_to_pass=tuple(sorted(test for test in fixed.passing if broken.fails(test))),
        pass_to_pass=tuple(sorted(fixed.passing & broken.passing)),
    )


async def confirmed(row: TaskRow, archive: bytes, *, execute: ExecuteTests) -> TaskRow | None:
    """The finished row, with those of its tests alone that its gold patch turns, or leaves, once more; None
    when that is no task: its gold patch would not be resolved, or the empty patch would.

    Raises:
        InfrastructureError: a sandbox failed.
    """
    patches = (row.gold_patch.encode(errors="surrogateescape"), b"")
    gold, empty = await asyncio.gather(*(execute(row, archive, patch) for patch in patches))
    if not gold.is_complete or not gold.applied or not empty.is_complete:
        return None
    turned = tuple(test for test in row.fail_to_pass if gold.passes(test) and not empty.passes(test))
    kept = tuple(test for test in row.pass_to_pass if gold.passes(test) and empty.passes(test))
    if not turned:
        return None
    try:
        return TaskRow.model_validate({**row.model_dump(), "fail_to_pass": turned, "pass_to_pass": kept})
    except ValidationError:  # what is no text cannot be in a task file, such as a patch in Latin-1
        return None
