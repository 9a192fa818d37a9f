"""Which tests a fix turns: measured by running them in sandboxes, twice on each side.

Enters: two rows or patches to run. Leaves: FAIL_TO_PASS and PASS_TO_PASS without the tests that cannot make
up their mind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from turnmix.environments.swe.execution import Execution, execute_tests
from turnmix.environments.swe.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox

MakeSandbox = Callable[[TaskRow], Sandbox]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the tests came to in two runs of the same code."""

    passing: frozenset[str]
    """Passed both times."""
    failing: Mapping[str, str]
    """Did not pass either time, nor was it skipped; with the reason. Tests that are absent are not here."""
    unstable: frozenset[str]
    """All others: skipped, or not the same twice."""
    seconds: float
    log: str

    def fails(self, test: str) -> bool:
        """Failed, or was not even there, both times."""
        return test not in self.passing and test not in self.unstable


async def measure(
    row: TaskRow, archive: bytes, patch: bytes, *, make_sandbox: MakeSandbox, first: Execution | None = None
) -> Measured | None:
    """Run the tests of `row` on `patch` twice; None when a run did not come to its end.

    `first`: an execution of the same that was made already.

    Raises:
        InfrastructureError: a sandbox failed.
    """
    started = time.monotonic()
    runs = [first] if first is not None else []
    while len(runs) < 2:
        runs.append(await execute_tests(row, archive, patch, make_sandbox(row)))
        if not runs[-1].is_complete or not runs[-1].applied:
            return None
    seconds = (time.monotonic() - started) / (2 if first is None else 1)
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


async def is_solved_by_gold(row: TaskRow, archive: bytes, *, make_sandbox: MakeSandbox) -> bool:
    """Whether the finished row grades its own gold patch as resolved and the empty patch as not."""
    patches = (row.gold_patch.encode(errors="surrogateescape"), b"")
    gold, empty = await asyncio.gather(
        *(execute_tests(row, archive, patch, make_sandbox(row)) for patch in patches)
    )
    tests = (*row.fail_to_pass, *row.pass_to_pass)
    return all(map(gold.passes, tests)) and not all(map(empty.passes, tests))
