"""Running an image's tests on a patch, in a fresh container as root, and reading the log.

The patch is applied by git, then by git hunk for hunk, then by `patch` with some fuzz; the evaluation script runs
in bash without `-e`, puts the gold tests back and runs them; its log is read as a file, never through a shell that
truncates. Files that steer pytest or the interpreter, and that the fix itself does not touch, are left out of the
patch: whoever writes them could decide what the tests come to.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from turnmix.environments.swe.image_repository import set_up_image
from turnmix.environments.swe.laying import encoded
from turnmix.environments.swe.task_file import TaskRow
from turnmix.environments.swe.test_log import TestCounts, count_tests
from turnmix.sandboxes.sandbox import Sandbox, SandboxLimitExceeded

GRADING = "/tmp/turnmix"
PATCH, SCRIPT, LOG = f"{GRADING}/agent.patch", f"{GRADING}/evaluate.sh", f"{GRADING}/log"
LOG_BYTES = 128 << 20
APPLY = f"""\
git config --global --add safe.directory '*'
before=$(git stash create)
git apply --whitespace=nowarn {PATCH} && exit
git apply --whitespace=nowarn --reject {PATCH} && exit
git checkout -q -f "${{before:-HEAD}}" -- . && git clean -fdq
patch --batch --forward --fuzz=5 -p1 -i {PATCH}
"""
STEERING = ("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "sitecustomize.py",
            "usercustomize.py")  # fmt: skip
_SECTION = re.compile(rb"^(?=diff --git )", re.MULTILINE)
_PATHS = re.compile(rb"diff --git a/.* b/(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExecution:
    """What the tests of an image came to."""

    counts: TestCounts | None
    """None: the patch did not apply, or the tests did not come to their end."""
    log: str


async def execute_in_image(row: TaskRow, patch: bytes, sandbox: Sandbox) -> ImageExecution:
    """Start `sandbox`, run the tests of `row` on `patch` in it, and stop it.

    Raises:
        SandboxError: the sandbox failed, or the image is not the row's.
    """
    try:
        await sandbox.start()
        await set_up_image(row, sandbox)
        try:
            return await _run_on(row, without_steering(patch, row), sandbox)
        except SandboxLimitExceeded as exceeded:
            return ImageExecution(counts=None, log=str(exceeded))
    finally:
        await sandbox.stop()


async def _run_on(row: TaskRow, patch: bytes, sandbox: Sandbox) -> ImageExecution:
    directory = row.working_directory
    await sandbox.write_file(SCRIPT, encoded(row.evaluation_script))
    if patch.strip():
        await sandbox.write_file(PATCH, patch)
        applied = await sandbox.run(APPLY, working_directory=directory, timeout=300.0)
        if applied.exit_code != 0:
            return ImageExecution(counts=None, log=applied.output[-2000:].decode(errors="replace"))
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
    return ImageExecution(counts=counts, log=log.decode(errors="replace"))


def without_steering(patch: bytes, row: TaskRow) -> bytes:
    """The patch without the files that decide what tests come to, unless the fix touches them too."""
    allowed = {path for path in _touched(encoded(row.gold_patch)) if path.rpartition("/")[2] in STEERING}
    kept = []
    for section in _SECTION.split(patch):
        (path,) = _touched(section)[:1] or [""]
        if path.rpartition("/")[2] not in STEERING or path in allowed:
            kept.append(section)
    return b"".join(kept)


def _touched(patch: bytes) -> list[str]:
    return [path.decode(errors="replace") for path in _PATHS.findall(patch)]
