"""The verdict on a patch: all FAIL_TO_PASS and all PASS_TO_PASS pass in a fresh sandbox, or it is unresolved.

A patch that does not apply, a time-out, a skipped test and a missing test are all unresolved. The same patch of
the same task is judged once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from weakref import WeakKeyDictionary

from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason, Verdict
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.environments.repositories.execution import Execution, execute_tests
from turnmix.environments.repositories.image_execution import execute_in_image
from turnmix.environments.repositories.image_repository import prepare_image, take_image_patch
from turnmix.environments.repositories.patch import read_tree, take_patch
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.repositories.unpacking import decoded, lay_repository
from turnmix.sandboxes.sandbox import Sandbox


class Grader:
    """Lays tasks into sandboxes; judges patches, and what agents left in their sandboxes."""

    def __init__(
        self,
        *,
        row: Callable[[str], TaskRow],
        archive: Callable[[TaskRow], bytes],
        make_sandbox: Callable[[TaskRow], Sandbox],
    ) -> None:
        """`row`: a task's, by its id. `archive`: the content of a row's archive."""
        self._row = row
        self._archive = archive
        self._make_sandbox = make_sandbox
        self._bases: WeakKeyDictionary[Sandbox, str] = WeakKeyDictionary()
        self._verdicts: dict[tuple[str, bytes], Verdict] = {}

    async def prepare(self, task: Task, sandbox: Sandbox) -> None:
        """Make a started sandbox ready for an agent. Raises InfrastructureError."""
        row = self._row(task.id)
        if row.image is None:
            await lay_repository(row, await self._content(row), sandbox)
        else:
            self._bases[sandbox] = await prepare_image(row, sandbox)

    async def __call__(self, task: Task, sandbox: Sandbox, stop_reason: StopReason) -> Verdict:
        """The verdict on the final state of `sandbox`. Raises InfrastructureError."""
        row = self._row(task.id)
        patch = await self._patch(row, sandbox)
        if patch is None or not patch.strip() or stop_reason is not StopReason.finished:
            return verdict(row, None, patch or b"", submitted=False)
        return await self.grade(row, patch)

    async def grade(self, row: TaskRow, patch: bytes) -> Verdict:
        """The verdict on a patch, submitted by whoever made it. Raises InfrastructureError."""
        if not patch.strip():
            return verdict(row, None, patch, submitted=False)
        key = (row.instance_id, hashlib.sha256(patch).digest())
        if key not in self._verdicts:
            self._verdicts[key] = await self._run_tests(row, patch)
        return self._verdicts[key]

    async def _run_tests(self, row: TaskRow, patch: bytes) -> Verdict:
        if row.image is None:
            execution = await execute_tests(row, await self._content(row), patch, self._make_sandbox(row))
            return verdict(row, execution, patch, submitted=True)
        in_image = await execute_in_image(row, patch, self._make_sandbox(row))
        counts = in_image.counts
        if counts is None:
            return verdict(row, None, patch, submitted=True)
        return patch_verdict(
            resolved=counts.resolved,
            submitted=True,
            passed=counts.passed,
            failed=counts.failed,
            patch=decoded(patch),
            set_aside=in_image.set_aside,
        )

    async def _content(self, row: TaskRow) -> bytes:
        return await asyncio.to_thread(self._archive, row)

    async def _patch(self, row: TaskRow, sandbox: Sandbox) -> bytes | None:
        if row.image is not None:
            return await take_image_patch(row, self._bases[sandbox], sandbox)
        tree = await read_tree(sandbox, row.working_directory)
        if tree is None:
            return None
        fresh = self._make_sandbox(row)
        try:
            await fresh.start()
            await lay_repository(row, await self._content(row), fresh)
            return await take_patch(tree, fresh, row.working_directory)
        finally:
            await fresh.stop()


def verdict(row: TaskRow, execution: Execution | None, patch: bytes, *, submitted: bool) -> Verdict:
    """What an execution of the row's tests means; None: there was none."""
    tests = (*row.fail_to_pass, *row.pass_to_pass)
    passed = 0
    if execution is not None and execution.is_complete:
        passed = sum(map(execution.passes, tests))
    return patch_verdict(
        resolved=passed == len(tests),
        submitted=submitted,
        passed=passed,
        failed=len(tests) - passed,
        patch=decoded(patch),
        set_aside=() if execution is None else execution.set_aside,
    )
