"""The verdict on a patch: all FAIL_TO_PASS and all PASS_TO_PASS pass in a fresh sandbox, or it is unresolved.

A patch that does not apply, a time-out, a skipped test and a missing test are all unresolved. The same patch of
the same task is judged once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.environments.repositories.patch_text import decoded
from turnmix.environments.repositories.repository import Repository, TestResult
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox


class Grader:
    """Judges patches, and what agents left in their sandboxes."""

    def __init__(self, *, row: Callable[[str], TaskRow], repository: Callable[[TaskRow], Repository]) -> None:
        """`row`: a task's, by its id. `repository`: a row's, the same one each time."""
        self._row = row
        self._repository = repository
        self._verdicts: dict[tuple[str, bytes], Verdict] = {}

    async def __call__(self, task: Task, sandbox: Sandbox, stop_reason: StopReason) -> Verdict:
        """The verdict on the final state of `sandbox`. Raises InfrastructureError."""
        row = self._row(task.id)
        patch = await self._repository(row).take_patch(sandbox)
        if patch is None or not patch.strip() or stop_reason is not StopReason.finished:
            return unjudged(row, patch or b"")
        return await self.grade(row, patch)

    async def grade(self, row: TaskRow, patch: bytes) -> Verdict:
        """The verdict on a patch, submitted by whoever made it. Raises InfrastructureError."""
        if not patch.strip():
            return unjudged(row, patch)
        key = (row.instance_id, hashlib.sha256(patch).digest())
        if key not in self._verdicts:
            self._verdicts[key] = verdict(await self._repository(row).run_tests(patch), patch)
        return self._verdicts[key]


def verdict(result: TestResult, patch: bytes) -> Verdict:
    """What tests came to on a patch that was submitted."""
    return patch_verdict(
        resolved=result.resolved,
        submitted=True,
        passed=result.passed,
        failed=result.failed,
        patch=decoded(patch),
        set_aside=result.set_aside,
    )


def unjudged(row: TaskRow, patch: bytes) -> Verdict:
    """The verdict on a patch that nobody submitted: no test was run on it."""
    result = TestResult.none_ran(row)
    return patch_verdict(
        resolved=False, submitted=False, passed=0, failed=result.failed, patch=decoded(patch)
    )
