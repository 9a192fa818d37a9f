"""The repository of a row whose tree lies in an archive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from turnmix.environments.repositories.archive.execution import Execution, execute_tests
from turnmix.environments.repositories.archive.patch import read_tree, take_patch
from turnmix.environments.repositories.archive.unpacking import unpack_repository
from turnmix.environments.repositories.repository import MakeSandbox, TestResult
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox


class ArchiveRepository:
    """A `Repository`. What an agent left is compared in a fresh sandbox, where nothing of its making runs."""

    def __init__(
        self, row: TaskRow, *, archive: Callable[[], Awaitable[bytes]], make_sandbox: MakeSandbox
    ) -> None:
        self._row = row
        self._archive = archive
        self._make_sandbox = make_sandbox

    def check(self) -> None:
        """Its tests report to a plugin of TurnMix's own."""

    async def prepare(self, sandbox: Sandbox) -> None:
        await unpack_repository(self._row, await self._archive(), sandbox)

    async def take_patch(self, sandbox: Sandbox) -> bytes | None:
        tree = await read_tree(sandbox, self._row.working_directory)
        if tree is None:
            return None
        fresh = self._make_sandbox(self._row)
        try:
            await fresh.start()
            await self.prepare(fresh)
            return await take_patch(tree, fresh, self._row.working_directory)
        finally:
            await fresh.stop()

    async def run_tests(self, patch: bytes) -> TestResult:
        archive = await self._archive()
        return counted(
            self._row, await execute_tests(self._row, archive, patch, self._make_sandbox(self._row))
        )


def counted(row: TaskRow, execution: Execution) -> TestResult:
    """What an execution of the row's tests means."""
    tests = (*row.fail_to_pass, *row.pass_to_pass)
    passed = sum(map(execution.passes, tests)) if execution.is_complete else 0
    return TestResult(
        resolved=passed == len(tests),
        passed=passed,
        failed=len(tests) - passed,
        set_aside=execution.set_aside,
    )
