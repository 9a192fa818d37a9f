"""A Harbor task's own tests, in the container as the agent left it, and the reward that they write.

The tests come into the container only now; a reward that lies there already is removed before. What they write counts,
never their exit code. A reward that is missing, or is none, is a failure around the agent: it is never taken for 0.
"""

from __future__ import annotations

import asyncio
import math
import shlex
from collections.abc import Mapping

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.json_text import json_value
from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.harbor.task_directory import HarborTask
from turnmix.environments.repositories.commands import must_run
from turnmix.sandboxes.sandbox import Sandbox

TESTS, LOGS, LOG = "/tests", "/logs/verifier", "/logs/verifier/test-stdout.txt"
AS_JSON, AS_TEXT = f"{LOGS}/reward.json", f"{LOGS}/reward.txt"
LARGEST_REWARD = 1 << 20
MOST_SHOWN = 500
_RUN = f"({TESTS}/test.sh) > {LOG} 2>&1"
TEST = f"{{ command -v bash > /dev/null && exec bash -c '{_RUN}'; }} || {_RUN}"


class HarborVerifier:
    """Judges what an agent left of one task."""

    def __init__(
        self,
        task: HarborTask,
        *,
        variables: Mapping[str, str],
        directory: str,
        reward: str,
        resolved_at: float,
        brings_tests: bool,
    ) -> None:
        """`variables`: of its tests; `directory`: where they run; `reward`: the name of the one that counts;
        `brings_tests`: its image has a directory of tests, to which its own are added."""
        self._task = task
        self._variables = variables
        self._directory = directory
        self._reward = reward
        self._resolved_at = resolved_at
        self._brings_tests = brings_tests

    async def __call__(self, task: Task, sandbox: Sandbox, stop_reason: StopReason) -> Verdict:
        """
        Raises:
            InfrastructureError: the tests gave no reward, or not in time.
            UserError: they gave several, and it is not said which counts.
        """
        await self._bring_tests(sandbox)
        seconds = self._task.asks.verifier.timeout_sec
        ran = await sandbox.run(
            TEST, working_directory=self._directory, environment=self._variables, timeout=seconds
        )
        if ran.exit_code is None:
            raise InfrastructureError(
                f"{task.id}: its tests were not done in verifier.timeout_sec = {seconds:g} s"
            )
        rewards = await self._rewards(sandbox)
        reward = self._chosen(rewards)
        return Verdict(
            resolved=reward >= self._resolved_at,
            reward=reward,
            details={"submitted": stop_reason is StopReason.finished, "rewards": rewards},
        )

    async def _bring_tests(self, sandbox: Sandbox) -> None:
        tests = await asyncio.to_thread(self._task.tests)
        removed = " ".join([AS_JSON, AS_TEXT, *([] if self._brings_tests else [TESTS])])
        made = f"rm -rf {removed} && mkdir -p {TESTS} {LOGS}"
        await must_run(sandbox, f"{made} && tar -x --no-same-owner -C {TESTS}", "/", stdin=tests)
        await must_run(sandbox, f"chmod +x {TESTS}/test.sh", "/")

    async def _rewards(self, sandbox: Sandbox) -> dict[str, float]:
        for path in (AS_JSON, AS_TEXT):
            try:
                written = await sandbox.read_file(path, limit=LARGEST_REWARD)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise InfrastructureError(f"{self._task.name}: {path}: {error.strerror}") from None
            try:
                return (
                    _read_json(written) if path == AS_JSON else {"reward": _number(float(written.decode()))}
                )
            except (ValueError, RecursionError) as error:
                told = written[:MOST_SHOWN].decode(errors="replace")
                raise InfrastructureError(
                    f"{self._task.name}: {path}: {told!r} is no reward: {error}"
                ) from None
        raise InfrastructureError(
            f"{self._task.name}: its tests wrote neither {AS_TEXT} nor {AS_JSON}: {await self._said(sandbox)}"
        )

    async def _said(self, sandbox: Sandbox) -> str:
        said = await sandbox.run(f"tail -c {MOST_SHOWN} {shlex.quote(LOG)}")
        return " ".join(said.output.decode(errors="replace").split()) or "they said nothing"

    def _chosen(self, rewards: Mapping[str, float]) -> float:
        if self._reward in rewards:
            return rewards[self._reward]
        if len(rewards) == 1:
            return next(iter(rewards.values()))
        raise UserError(
            f"tasks.reward = {self._reward}: the tests of {self._task.name} give {', '.join(rewards) or 'none'}: name "
            "the one that counts"
        )


def _read_json(written: bytes) -> dict[str, float]:
    rewards = json_value(written)
    if not isinstance(rewards, dict) or not rewards:
        raise ValueError("give an object of numbers by name")
    return {name: _number(value) for name, value in rewards.items()}


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)
