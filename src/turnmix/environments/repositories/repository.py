"""One row's repository, whatever holds it: laid for an agent, its change taken, its tests run on a patch.

In: a row. Out: a `Repository`. An archive is laid into any sandbox; an image is a sandbox of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox

MakeSandbox = Callable[[TaskRow], Sandbox]
"""A sandbox for a row, not started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What a row's FAIL_TO_PASS and PASS_TO_PASS came to."""

    __test__ = False  # no test of pytest's

    resolved: bool
    passed: int
    failed: int
    set_aside: tuple[str, ...] = ()
    """What of the patch the tests did not run on."""

    @classmethod
    def none_ran(cls, row: TaskRow) -> TestResult:
        """The patch did not apply, or the tests did not come to their end."""
        return cls(resolved=False, passed=0, failed=len(row.fail_to_pass) + len(row.pass_to_pass))


class Repository(Protocol):
    """All methods raise InfrastructureError where a sandbox fails, or the row's own parts do not fit together."""

    def check(self) -> None:
        """Raises MissingDependencyError: what reads the row's test log is not installed."""

    async def prepare(self, sandbox: Sandbox) -> None:
        """Make a started sandbox ready for an agent: the repository as the row means it, with no fix in sight."""

    async def take_patch(self, sandbox: Sandbox) -> bytes | None:
        """What an agent changed in a sandbox that was prepared; None: it left what cannot be compared."""
        ...

    async def run_tests(self, patch: bytes) -> TestResult:
        """The row's tests on a patch, in a fresh sandbox."""
        ...
