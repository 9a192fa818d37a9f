"""The verdict on a minirepo: the agent's files, called in a fresh sandbox, values compared out here.

The agent's code only ever sees arguments. Expected values stay in this process, so edited tests, conftest,
sitecustomize, a changed PATH, an exit code faked at import or a patched comparison change nothing.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import marshal
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.minirepo.repository import Case, same_value
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.environments.workspace import read_workspace, workspace_of
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

CALLER = Path(__file__).with_name("caller.py").read_text()
TIMEOUT_SECONDS = 20.0
MARSHAL_VERSION = 2
"""Every Python reads it."""


class MinirepoVerifier:
    """Judges final workspaces. `cases` gives the calls that decide a task."""

    def __init__(self, make_sandbox: Callable[[], Sandbox], cases: Callable[[Task], Sequence[Case]]) -> None:
        self._make_sandbox = make_sandbox
        self._cases = cases

    async def __call__(self, task: Task, sandbox: Sandbox, stop_reason: StopReason) -> Verdict:
        """The verdict on what the agent left in `sandbox`; unresolved unless it was submitted.

        Raises:
            SandboxError: a sandbox failed; the verdict is then unknown, not false.
        """
        cases = self._cases(task)
        unresolved = patch_verdict(resolved=False, submitted=False, passed=0, failed=len(cases))
        try:
            files = await read_workspace(sandbox, workspace_of(task).working_directory)
        except SandboxEnded:
            return unresolved
        patch = await asyncio.to_thread(unified_patch, workspace_of(task).files, files)
        submitted = stop_reason is StopReason.finished and bool(patch)
        if not submitted:
            return patch_verdict(resolved=False, submitted=False, passed=0, failed=len(cases), patch=patch)
        passed = await self._count_passed(task, {**files, **_protected(task)}, cases)
        return patch_verdict(
            resolved=passed == len(cases),
            submitted=True,
            passed=passed,
            failed=len(cases) - passed,
            patch=patch,
        )

    async def _count_passed(self, task: Task, files: Mapping[str, bytes], cases: Sequence[Case]) -> int:
        sandbox = self._make_sandbox()
        try:
            await sandbox.start()
            output = await self._answers(task, files, cases, sandbox)
        finally:
            await sandbox.stop()
        marker = b"@answer "  # other lines are what the agent's code printed
        answers = [
            _parse_answer(line[len(marker) :]) for line in output.split(b"\n") if line.startswith(marker)
        ]
        if len(answers) < len(cases):
            return 0
        return sum(
            len(answer) == 1 and same_value(answer[0], case.expected) for answer, case in zip(answers, cases)
        )

    async def _answers(
        self, task: Task, files: Mapping[str, bytes], cases: Sequence[Case], sandbox: Sandbox
    ) -> bytes:
        """What calling the agent's code printed; nothing where it ended the sandbox."""
        directory = workspace_of(task).working_directory
        laid = [(os.fsencode(f"{directory}/{path}"), content) for path, content in files.items()]
        calls = [(case.module, case.function, list(case.arguments)) for case in cases]
        try:
            result = await sandbox.run(
                f"exec /usr/bin/env -i python3 -I -S -B -c {shlex.quote(CALLER)}",
                working_directory="/tmp",
                stdin=marshal.dumps((directory, laid, calls), MARSHAL_VERSION),
                timeout=TIMEOUT_SECONDS,
                output_limit=1 << 20,
            )
        except SandboxEnded:
            return b""
        return result.output


def unified_patch(before: Mapping[str, str], after: Mapping[str, bytes]) -> str:
    """What changed, as a unified diff with a/ and b/ paths; undecodable bytes are shown replaced."""
    parts = []
    for path in sorted({*before, *after}):
        old = before.get(path, "")
        new = after[path].decode(errors="replace") if path in after else ""
        if old != new:
            lines = difflib.unified_diff(
                _lines(old),
                _lines(new),
                f"a/{path}" if path in before else "/dev/null",
                f"b/{path}" if path in after else "/dev/null",
            )
            parts += [
                line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines
            ]
    return "".join(parts)


def _lines(text: str) -> list[str]:
    """Split where a patch does, at newlines alone: at a form feed it would tell each of a million apart."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _protected(task: Task) -> dict[str, bytes]:
    """The tests as they were, whatever the agent made of them."""
    files = workspace_of(task).files
    return {name: files[name].encode() for name in ("test_repo.py", "run_tests.py")}


def _parse_answer(line: bytes) -> list[object]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return answer if isinstance(answer, list) else []
