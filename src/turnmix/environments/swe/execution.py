"""Running a row's tests on a patch, in a fresh sandbox, and reading what each test came to.

Order: lay the repository; set the gold test files aside; apply the patch; put the test files back, without
any test configuration that the patch brought along; run the evaluation script; read its log as a file.
Whatever the patched code does is data. Only a failing sandbox, or a task whose own parts do not fit, raises.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from turnmix.core.json_text import json_value
from turnmix.environments.swe.application import APPLY_SECONDS, GRADING, apply_patch
from turnmix.environments.swe.laying import encoded, lay_repository, must_run, must_write
from turnmix.environments.swe.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

TEST_REPORT = f"{GRADING}/pytest_report.py"
LOG_BYTES = 32 << 20
TEST_DIRECTORY = "tests"
TOP_TEST_DIRECTORIES = ("test", "testing")
CONFIGURATION = ("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini",
                 "setup.cfg", "pyproject.toml")  # fmt: skip
"""Files that steer pytest. They belong to the tests: a patch's own versions of them are not used."""
_TEST_FILE = re.compile(r"test_.*\.py|.*_test\.py")
PASSING = ("passed", "xfailed")


def is_test_path(path: str) -> bool:
    """Whether a repository's file belongs to its tests: to be put back before every verdict.

    >>> [is_test_path(path) for path in ("src/a/tests/data.txt", "test/x.py", "a/test/x.py", "a/conftest.py")]
    [True, True, False, True]
    """
    *directories, name = path.split("/")
    return (
        TEST_DIRECTORY in directories
        or path.split("/")[0] in TOP_TEST_DIRECTORIES
        or name in CONFIGURATION
        or _TEST_FILE.fullmatch(name) is not None
    )


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
    log: str = field(default="", repr=False)

    def passes(self, test: str) -> bool:
        return self.outcomes.get(test) in PASSING


async def execute_tests(row: TaskRow, archive: bytes, patch: bytes, sandbox: Sandbox) -> Execution:
    """Start `sandbox`, run the tests of `row` on `patch` in it, and stop it.

    Raises:
        SandboxError: the sandbox failed, or the row's own parts do not fit together.
    """
    try:
        await sandbox.start()
        await lay_repository(row, archive, sandbox)
        await _set_tests_aside(row, sandbox)
        try:
            return await _run_on(row, patch, sandbox)
        except SandboxEnded as ended:
            return Execution(is_complete=False, log=str(ended))
    finally:
        await sandbox.stop()


async def _set_tests_aside(row: TaskRow, sandbox: Sandbox) -> None:
    report = resources.files("turnmix.environments.swe.inside") / "pytest_report.py"
    await must_write(sandbox, TEST_REPORT, report.read_bytes())
    await must_write(sandbox, f"{GRADING}/evaluate.sh", encoded(row.evaluation_script))
    directory = row.working_directory
    if row.test_patch:
        patch = encoded(row.test_patch)
        await must_run(sandbox, "git apply --whitespace=nowarn -", directory, stdin=patch)
    if row.test_files:
        listed = "\0".join(row.test_files).encode()
        keep = f"tar -cf {GRADING}/tests.tar --null --verbatim-files-from -T -"
        await must_run(sandbox, keep, directory, stdin=listed)
    await must_run(sandbox, "git checkout -q -f HEAD && git clean -fdxq", directory)


async def _run_on(row: TaskRow, patch: bytes, sandbox: Sandbox) -> Execution:
    directory = row.working_directory
    if patch.strip():
        applied = await apply_patch(patch, directory, sandbox)
        if applied.exit_code != 0:
            return Execution(applied=False, log=applied.output[-2000:].decode(errors="replace"))
    if row.test_files:
        names = " -o ".join(f"-name {shlex.quote(name)}" for name in (*CONFIGURATION, TEST_DIRECTORY))
        restore = (
            f"find . -path ./.git -prune -o \\( {names} \\) -prune -exec rm -rf {{}} + ; "
            f"xargs -0 rm -rf -- ; tar -xf {GRADING}/tests.tar"
        )
        listed = "\0".join((*TOP_TEST_DIRECTORIES, *row.test_files)).encode()
        restored = await sandbox.run(
            restore, working_directory=directory, stdin=listed, timeout=APPLY_SECONDS
        )
        if restored.exit_code != 0:  # the patch put something in the tests' place that cannot be replaced
            return Execution(is_complete=False, log=restored.output[-2000:].decode(errors="replace"))
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
    return read_report(log, nonce, is_complete=result.exit_code is not None)


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
