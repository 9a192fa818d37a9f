"""One trajectory in a Harbor task's container: the scaffold's tools, and the task's own tests at the end.

Where the agent works is known once the image is there; then it is an environment like any other with a scaffold.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.task import Task, Workspace
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Step
from turnmix.environments.harbor.grading import TESTS, HarborVerifier
from turnmix.environments.harbor.task_directory import HarborTask
from turnmix.environments.repositories.commands import must_run
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.sandboxes.sandbox import ImageSandbox, ImageSettings, Sandbox
from turnmix.scaffold.scaffold import ScaffoldSettings

LOGS = "/logs/agent /logs/verifier /logs/artifacts"


class HarborEnvironment:
    """A trajectory's world. Its expert needs no look into it: the solution is in no container."""

    def __init__(
        self,
        task: Task,
        harbor_task: HarborTask,
        *,
        sandbox: Sandbox,
        scaffold: ScaffoldSettings,
        make_verifier: Callable[..., HarborVerifier],
    ) -> None:
        """`make_verifier`: of this task, for a `directory` where its tests run, whose image `brings_tests` or not."""
        self._task = task
        self._harbor_task = harbor_task
        self._sandbox = sandbox
        seconds = harbor_task.asks.agent.timeout_sec
        self._scaffold = (
            scaffold if seconds is None else scaffold.model_copy(update={"wall_seconds": seconds})
        )
        self._make_verifier = make_verifier
        self._brings_tests = False
        self._started: ScaffoldedEnvironment | None = None

    @property
    def sandbox(self) -> Sandbox:
        return self._sandbox

    @property
    def working_directory(self) -> str:
        return self._environment.working_directory

    def privileged_view(self) -> Sandbox:
        return self._sandbox

    async def reset(self) -> State:
        """
        Raises:
            SandboxError: the image, or its container, could not be made.
            UserError: the image asks for what TurnMix does not do.
        """
        image = await self._image()
        directory = self._harbor_task.asks.environment.workdir or image.working_directory
        self._started = ScaffoldedEnvironment(
            task=replace(self._task, workspace=Workspace(working_directory=directory)),
            sandbox=self._sandbox,
            settings=self._scaffold,
            verifier=self._verify,
            prepare=self._prepare,
            keeps_processes=True,
        )
        return await self._started.reset()

    async def step(self, action: Action) -> Step:
        return await self._environment.step(action)

    async def verify(self, stop_reason: StopReason) -> Verdict:
        return await self._environment.verify(stop_reason)

    async def close(self) -> None:
        if self._started is None:
            await self._sandbox.stop()
        else:
            await self._started.close()

    @property
    def _environment(self) -> ScaffoldedEnvironment:
        if self._started is None:
            raise InfrastructureError(f"{self._task.id}: its container was not started")
        return self._started

    async def _image(self) -> ImageSettings:
        if not isinstance(self._sandbox, ImageSandbox):
            raise UserError(f"sandbox.kind: {self._task.id} needs a container: set sandbox.kind=container")
        image = await self._sandbox.have_image()
        if image.user.partition(":")[0] not in ("", "root", "0"):
            raise UserError(
                f"tasks.path: {self._harbor_task.directory}: its image has the user {image.user}, and TurnMix's "
                "containers have root alone: leave USER out of its Dockerfile, or leave the task out"
            )
        if image.entrypoint:
            raise UserError(
                f"tasks.path: {self._harbor_task.directory}: its image has an ENTRYPOINT, which TurnMix's containers "
                "do not run: end its Dockerfile with ENTRYPOINT [], or leave the task out"
            )
        return image

    async def _prepare(self, task: Task, sandbox: Sandbox) -> None:
        directory = self._environment.working_directory
        await must_run(sandbox, f"mkdir -p {LOGS} {shlex.quote(directory)} && chmod 777 {LOGS}", "/")
        if laid := self._harbor_task.laid_files:
            await must_run(sandbox, "tar -x --no-same-owner", directory, stdin=laid)
        told = await must_run(sandbox, f"if [ -e {TESTS} ]; then echo tests; fi", "/")
        self._brings_tests = bool(told)

    async def _verify(self, task: Task, sandbox: Sandbox, stop_reason: StopReason) -> Verdict:
        judge = self._make_verifier(directory=self.working_directory, brings_tests=self._brings_tests)
        return await judge(task, sandbox, stop_reason)
