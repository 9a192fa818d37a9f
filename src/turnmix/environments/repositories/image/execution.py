"""Running an image's tests on a patch, in a fresh container as root, and reading the log.

What the patch must not decide is kept aside; the patch is applied; what was kept is put back; the evaluation script
runs in bash without `-e`, puts the gold tests in place and runs them; its log is read as a file, never through a
shell that truncates.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from turnmix.environments.repositories.commands import must_write
from turnmix.environments.repositories.image.preparation import set_up_image
from turnmix.environments.repositories.logs.test_log import TestCounts, count_tests
from turnmix.environments.repositories.patch_application import GRADING, apply_patch
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.protection import Protection, Restored, keep_protected
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

SCRIPT, LOG = f"{GRADING}/evaluate.sh", f"{GRADING}/log"
LOG_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExecution:
    """What the tests of an image came to."""

    counts: TestCounts | None
    """None: the patch did not apply, or the tests did not come to their end."""
    log: str
    set_aside: tuple[str, ...] = ()
    """What of the patch the tests did not run on."""


async def execute_in_image(row: TaskRow, patch: bytes, sandbox: Sandbox) -> ImageExecution:
    """Start `sandbox`, run the tests of `row` on `patch` in it, and stop it.

    Raises:
        SandboxError: the sandbox failed, other than by the patch, or the image is not the row's.
    """
    try:
        await sandbox.start()
        await set_up_image(row, sandbox)
        await must_write(sandbox, SCRIPT, encoded(row.evaluation_script))
        protection = await keep_protected(row, sandbox) if patch.strip() else None
        try:
            return await _run_on(row, patch, protection, sandbox)
        except SandboxEnded as ended:
            return ImageExecution(counts=None, log=str(ended))
    finally:
        await sandbox.stop()


async def _run_on(
    row: TaskRow, patch: bytes, protection: Protection | None, sandbox: Sandbox
) -> ImageExecution:
    """From here on the patch is there: what ends the sandbox is its doing."""
    directory = row.working_directory
    restored = Restored() if protection is None else await _apply(row, patch, protection, sandbox)
    if restored.misfit is not None:
        return ImageExecution(counts=None, log=restored.misfit)
    result = await sandbox.run(
        f"exec bash {SCRIPT} > {LOG} 2>&1", working_directory=directory, timeout=row.timeout_seconds
    )
    if result.exit_code is None:
        return ImageExecution(counts=None, log=f"stopped after {row.timeout_seconds:g} seconds")
    try:
        log = await sandbox.read_file(LOG, limit=LOG_BYTES)
    except OSError as error:  # the tested code removed it, or flooded it
        return ImageExecution(counts=None, log=f"the log cannot be read: {error}")
    counts = await asyncio.to_thread(count_tests, row, patch, log)
    return ImageExecution(counts=counts, log=log.decode(errors="replace"), set_aside=restored.set_aside)


async def _apply(row: TaskRow, patch: bytes, protection: Protection, sandbox: Sandbox) -> Restored:
    """Apply the patch but for what it must not change."""
    applied = await apply_patch(patch, row.working_directory, sandbox)
    if applied.exit_code != 0:
        return Restored(misfit=applied.output[-2000:].decode(errors="replace"))
    return await protection.put_back(sandbox)
