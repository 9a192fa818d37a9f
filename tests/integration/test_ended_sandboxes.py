"""A sandbox that ends while an agent works in it ended by the agent, unless something outside ended it."""

import asyncio
import signal

import pytest

from turnmix.core.errors import MissingDependencyError, SandboxError
from turnmix.core.message import Message, ToolCall
from turnmix.core.task import Task, Workspace
from turnmix.core.trajectory import Action, StopReason
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.environments.workspace_files import write_workspace
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.local import UnsandboxedSandbox
from turnmix.sandboxes.sandbox import SandboxEnded, SandboxLimitExceeded
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

try:
    BubblewrapSettings().check()
    MISSING = ""
except MissingDependencyError as error:
    MISSING = str(error)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

TASK = Task(
    id="t",
    problem_statement="Repair a.py.",
    workspace=Workspace(working_directory="/testbed", files={"a.py": "x"}),
)


def kill_supervisor(sandbox):
    """As the kernel does where the memory of a sandbox is used up."""
    signal.pidfd_send_signal(sandbox._supervisor, signal.SIGKILL)


def bash(command):
    calls = (ToolCall(id="1", name="execute_bash", arguments={"command": command}),)
    return Action(message=Message(role="assistant", content="", tool_calls=calls))


async def never_asked(task, sandbox, stop_reason):
    raise AssertionError("there is no final state to judge")


def environment_in(sandbox, prepare=write_workspace):
    return ScaffoldedEnvironment(
        task=TASK, sandbox=sandbox, settings=ScaffoldSettings(), verifier=never_asked, prepare=prepare
    )


def test_a_supervisor_that_ends_within_is_what_ran_in_the_sandbox():
    async def scenario():
        sandbox = BubblewrapSandbox()
        await sandbox.start()
        try:
            terminal = await sandbox.open_terminal(working_directory="/")
            running = asyncio.ensure_future(sandbox.run("sleep 60"))
            await asyncio.sleep(0.1)
            kill_supervisor(sandbox)
            for pending in (running, terminal.read(), sandbox.read_file("/etc/passwd")):
                with pytest.raises(SandboxEnded) as caught:
                    await asyncio.wait_for(pending, 60)
                assert not isinstance(caught.value, SandboxLimitExceeded)
        finally:
            await sandbox.stop()

    asyncio.run(scenario())


def test_an_agent_that_ends_its_sandbox_has_failed_and_is_counted():
    async def scenario():
        environment = environment_in(BubblewrapSandbox())
        try:
            await environment.reset()
            asyncio.get_running_loop().call_later(0.3, kill_supervisor, environment.privileged_view())
            step = await asyncio.wait_for(environment.step(bash("sleep 90")), 60)
            return step, await environment.verify(step.stop_reason)
        finally:
            await environment.close()

    step, verdict = asyncio.run(scenario())
    assert step.stop_reason is StopReason.limit_exceeded
    assert "[The machine was stopped: the sandbox ended unexpectedly" in step.observation[0].content
    assert (verdict.resolved, verdict.details["submitted"]) == (False, False)


def test_a_sandbox_that_ends_in_the_preparation_is_an_infrastructure_failure():
    async def prepare(task, sandbox):
        kill_supervisor(sandbox)
        await sandbox.run("true")

    async def scenario():
        environment = environment_in(BubblewrapSandbox(), prepare)
        try:
            await environment.reset()
        finally:
            await environment.close()

    with pytest.raises(SandboxError):
        asyncio.run(scenario())


def test_without_a_sandbox_an_agent_that_kills_the_supervisor_has_failed_and_is_counted():
    async def scenario():
        environment = environment_in(UnsandboxedSandbox())
        try:
            await environment.reset()
            return await environment.step(bash("kill -9 $PPID"))
        finally:
            await environment.close()

    assert asyncio.run(scenario()).stop_reason is StopReason.limit_exceeded
