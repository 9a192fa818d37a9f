"""The repository of a row that has an image."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from turnmix.environments.repositories.image.execution import execute_in_image
from turnmix.environments.repositories.image.preparation import prepare_image, take_image_patch
from turnmix.environments.repositories.logs.test_log import check_swebench
from turnmix.environments.repositories.repository import MakeSandbox, TestResult
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox


class ImageRepository:
    """A `Repository`. What an agent left is compared with the commit that it started from, where it lies."""

    def __init__(self, row: TaskRow, *, make_sandbox: MakeSandbox) -> None:
        self._row = row
        self._make_sandbox = make_sandbox
        self._bases: WeakKeyDictionary[Sandbox, str] = WeakKeyDictionary()

    def check(self) -> None:
        check_swebench(self._row)

    async def prepare(self, sandbox: Sandbox) -> None:
        self._bases[sandbox] = await prepare_image(self._row, sandbox)

    async def take_patch(self, sandbox: Sandbox) -> bytes | None:
        return await take_image_patch(self._row, self._bases[sandbox], sandbox)

    async def run_tests(self, patch: bytes) -> TestResult:
        execution = await execute_in_image(self._row, patch, self._make_sandbox(self._row))
        counts = execution.counts
        if counts is None:
            return TestResult.none_ran(self._row)
        return TestResult(
            resolved=counts.resolved,
            passed=counts.passed,
            failed=counts.failed,
            set_aside=execution.set_aside,
        )
