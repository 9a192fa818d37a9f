"""Running a row's tests on a patch, in a fresh sandbox, and reading what each test came to.

Order: lay the repository; set the gold test files aside; apply the patch; put the test files back, without
any test configuration that the patch brought along; run the evaluation script; read its log as a file.
Whatever the patched code does is data. Only a failing sandbox, or a task whose own parts do not fit, raises.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

from turnmix.core.json_text import json_value
from turnmix.environments.repositories.archive.unpacking import unpack_repository
from turnmix.environments.repositories.commands import must_run, must_write
from turnmix.environments.repositories.patch_application import BEFORE, GRADING, apply_patch
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.protection import Protection, keep_protected
from turnmix.environments.repositories.repository import MakeSandbox
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

TEST_REPORT = f"{GRADING}/pytest_report.py"
LOG_BYTES = 32 << 20
PASSING = ("passed", "xfailed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What the tests came to."""

    applied: bool = True
    """The patch could be applied."""
    is_complete: bool = True
    """The evaluation script ended by itself, in time and within the sandbox's limits."""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """By test id: passed, xfailed, skipped, failed or error."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Why tests did not pass."""
    set_aside: tuple[str, ...] = ()
    """What of the patch the tests did not run on."""
    log: str = field(default="", repr=False)

    def passes(self, test: str) -> bool:
        return self.outcomes.get(test) in PASSING


ExecuteTests = Callable[[TaskRow, bytes, bytes], Awaitable[Execution]]
"""Runs the tests of a row, whose archive is given, on a patch. Raises SandboxError: see `execute_tests`."""


def executing(make_sandbox: MakeSandbox) -> ExecuteTests:
    """In sandboxes of this machine."""

    async def execute(row: TaskRow, archive: bytes, patch: bytes) -> Execution:
        return await execute_tests(row, archive, patch, make_sandbox(row))

    return execute


async def execute_tests(row: TaskRow, archive: bytes, patch: bytes, sandbox: Sandbox) -> Execution:
    """Start `sandbox`, run the tests of `row` on `patch` in it, and stop it.

    Raises:
        SandboxError: the sandbox failed, or the row's own parts do not fit together.
    """
    try:
        await sandbox.start()
        await unpack_repository(row, archive, sandbox)
        protection = await _set_tests_aside(row, sandbox)
        try:
            return await _run_on(row, patch, sandbox, protection)
        except SandboxEnded as ended:
            return Execution(is_complete=False, log=str(ended))
    finally:
        await sandbox.stop()


async def _set_tests_aside(row: TaskRow, sandbox: Sandbox) -> Protection:
    report = resources.files("turnmix.environments.repositories.inside") / "pytest_report.py"
    await must_write(sandbox, TEST_REPORT, report.read_bytes())
    await must_write(sandbox, f"{GRADING}/evaluate.sh", encoded(row.evaluation_script))
    directory = row.working_directory
    if row.test_patch:
        patch = encoded(row.test_patch)
        await must_run(sandbox, "git apply --whitespace=nowarn -", directory, stdin=patch)
    protection = await keep_protected(row, sandbox)
    await must_run(sandbox, f"git checkout -q -f HEAD && git clean -fdxq && touch {BEFORE}", directory)
    return protection


async def _run_on(row: TaskRow, patch: bytes, sandbox: Sandbox, protection: Protection) -> Execution:
    directory = row.working_directory
    if patch.strip():
        applied = await apply_patch(patch, directory, sandbox)
        if applied.exit_code != 0:
            return Execution(applied=False, log=applied.output[-2000:].decode(errors="replace"))
    restored = await protection.put_back(sandbox)
    if restored.misfit is not None:
        return Execution(is_complete=False, log=restored.misfit)
    nonce = secrets.token_hex(16)
    result = await sandbox.run(
        f"sh {GRADING}/evaluate.sh > {GRADING}/log 2>&1",
        working_directory=directory,
        stdin=f"{nonce}\n".encode(),
        timeout=row.timeout_seconds,
    )
    try:
        log = await sandbox.read_file(f"{GRADING}/log", limit=LOG_BYTES)
    except OSError as error:  # the tested code removed it, or flooded it
        return Execution(is_complete=False, log=f"the log cannot be read: {error}")
    execution = read_report(log, nonce, is_complete=result.exit_code is not None)
    return replace(execution, set_aside=restored.set_aside)


def read_report(log: bytes, nonce: str, *, is_complete: bool = True) -> Execution:
    """What the report's lines in a log say. A test reported twice came to the worse of both; a line that was cut,
    or that the tested code wrote, reports none.

    >>> log = b'noise\\n@n {"id": "t", "outcome": "passed", "message": ""}\\n@m {"id": "u"}\\n@n {"id": "v", "o'
    >>> dict(read_report(log, "n").outcomes)
    {'t': 'passed'}
    """
    prefix = f"@{nonce} ".encode()
    outcomes: dict[str, str] = {}
    messages: dict[str, str] = {}
    for line in log.split(b"\n"):
        if line.startswith(prefix) and (entry := _reported(line[len(prefix) :])):
            test, outcome, message = entry
            if outcomes.get(test, "passed") in PASSING:
                outcomes[test], messages[test] = outcome, message
    shown = log.replace(prefix, b"@").decode(errors="replace")
    return Execution(is_complete=is_complete, outcomes=outcomes, messages=messages, log=shown)


def _reported(line: bytes) -> tuple[str, str, str] | None:
    try:
        entry = json_value(line)
        fields = (entry["id"], entry["outcome"], entry["message"])
    except (ValueError, KeyError, TypeError):
        return None
    return fields if all(isinstance(field, str) for field in fields) else None
