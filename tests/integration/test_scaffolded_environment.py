"""The environment around the scaffold: preparation, budgets, stop reasons, and ends that are data."""

import asyncio
import functools
from dataclasses import dataclass, field

import pytest
from scaffold_in_sandbox import PATIENT, any_sandbox, call, new_sandbox  # noqa: F401 (any_sandbox: every test, in each kind)

from turnmix.core.errors import SandboxError
from turnmix.core.message import Message, ToolCall
from turnmix.core.task import Task, Workspace
from turnmix.core.trajectory import Action, StopReason
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.environments.workspace_files import GIT_REPOSITORY, write_workspace
from turnmix.sandboxes.sandbox import Limits
from turnmix.scaffold.scaffold import CONTINUE, NOT_EXECUTED, ScaffoldSettings

FILES = {"a.py": "print('a')\n", "pkg/deep/b.py": "x = '%s \\n'", "it's": "", "-n": "é"}
TASK = Task(
    id="t", problem_statement="Repair a.py.", workspace=Workspace(working_directory="/testbed", files=FILES)
)
FINISH = call("finish", message="done")


@dataclass
class RecordingVerifier:
    """Resolves everything; remembers what it was asked."""

    asked: list = field(default_factory=list)

    async def __call__(self, task, sandbox, stop_reason):
        self.asked.append(stop_reason)
        await sandbox.read_file(f"{task.workspace.working_directory}/a.py")
        return patch_verdict(resolved=True, submitted=True, passed=1, failed=0)


def in_environment(test, *, limits=None, prepare=write_workspace, task=TASK, clock=None, **settings):
    async def run():
        verifier = RecordingVerifier()
        environment = ScaffoldedEnvironment(
            task=task,
            sandbox=new_sandbox(limits),
            settings=ScaffoldSettings(**settings),
            verifier=verifier,
            prepare=prepare,
            **({} if clock is None else {"clock": clock}),
        )
        try:
            environment.first = await environment.reset()
            await test(environment, verifier)
        finally:
            await environment.close()
            await environment.close()

    asyncio.run(asyncio.wait_for(run(), 5 * PATIENT))


async def lay_nothing(task, sandbox):
    """For a sandbox of so short a life that laying files could take all of it."""


def say(text, **keywords):
    return Action(message=Message(role="assistant", content=text), **keywords)


def test_a_reset_lays_the_files_and_tells_the_task():
    async def test(environment, verifier):
        for path, text in FILES.items():
            assert await environment.privileged_view().read_file(f"/testbed/{path}") == text.encode()
        assert "Repair a.py." in environment.first.messages[-1].content
        names = [tool.name for tool in environment.first.tools]
        assert names == ["execute_bash", "str_replace_editor", "think", "finish"]

    in_environment(test)


def test_a_task_of_any_size_can_be_laid():
    async def test(environment, verifier):
        assert len(await environment.privileged_view().read_file("/testbed/a.py")) == 1_000_000

    files = {"a.py": "x" * 1_000_000}
    in_environment(
        test,
        task=Task(
            id="t", problem_statement="", workspace=Workspace(working_directory="/testbed", files=files)
        ),
    )


def test_a_task_can_begin_as_a_git_repository():
    async def test(environment, verifier):
        step = await environment.step(
            call("execute_bash", command="rm -r -- *; git checkout -q . && git status -s")
        )
        assert step.observation[0].content.startswith("[Current working directory: /testbed]")
        assert await environment.privileged_view().read_file("/testbed/a.py") == FILES["a.py"].encode()

    in_environment(test, prepare=functools.partial(write_workspace, afterwards=GIT_REPOSITORY))


def test_a_failing_preparation_is_an_infrastructure_error():
    async def test(environment, verifier):
        raise AssertionError("never reached")

    with pytest.raises(SandboxError, match="preparing task t: exit code 9"):
        in_environment(test, prepare=functools.partial(write_workspace, afterwards="exit 9"))


def test_finish_ends_the_trajectory_and_later_calls_are_not_carried_out():
    async def test(environment, verifier):
        calls = (
            ToolCall(id="1", name="think", arguments={"thought": "hm"}),
            ToolCall(id="2", name="finish", arguments={"message": "done"}),
            ToolCall(id="3", name="execute_bash", arguments={"command": "rm a.py"}),
        )
        step = await environment.step(Action(message=Message(role="assistant", content="", tool_calls=calls)))
        assert [message.tool_call_id for message in step.observation] == ["1", "2", "3"]
        assert step.observation[2].content == NOT_EXECUTED
        assert step.stop_reason is StopReason.finished
        assert (await environment.verify(StopReason.finished)).resolved
        assert verifier.asked == [StopReason.finished]

    in_environment(test)


def test_a_refused_finish_does_not_end_the_trajectory():
    async def test(environment, verifier):
        step = await environment.step(call("finish"))
        assert step.observation[0].content.startswith("ERROR: Missing argument: message.")
        assert step.stop_reason is None

    in_environment(test)


def test_a_turn_without_a_call_is_asked_to_continue():
    async def test(environment, verifier):
        step = await environment.step(say("I would look at a.py."))
        assert step.observation == (Message(role="user", content=CONTINUE),)
        assert step.stop_reason is None

    in_environment(test)


def test_a_call_that_could_not_be_read_is_told_what_is_wrong():
    async def test(environment, verifier):
        step = await environment.step(say("<tool_call>{", parse_error="no closing brace"))
        (message,) = step.observation
        assert message.role == "user"
        assert "no closing brace" in message.content
        assert "finish(message)" in message.content

    in_environment(test)


def test_an_unknown_tool_is_told_which_tools_there_are():
    async def test(environment, verifier):
        step = await environment.step(call("python", code="1"))
        assert step.observation[0].content == (
            "ERROR: There is no tool 'python'. The tools are: think(thought), finish(message)"
        )

    in_environment(test, tools=("think", "finish"))


def test_arguments_that_are_no_object_are_answered():
    async def test(environment, verifier):
        calls = (ToolCall(id="1", name="think", arguments=["hm"]),)
        step = await environment.step(Action(message=Message(role="assistant", content="", tool_calls=calls)))
        assert step.observation[0].content.startswith("ERROR: The arguments must be an object, not array.")

    in_environment(test)


def test_the_last_turn_ends_the_trajectory():
    async def test(environment, verifier):
        reasons = [(await environment.step(say(f"{number}"))).stop_reason for number in range(3)]
        assert reasons == [None, None, StopReason.max_turns]

    in_environment(test, max_turns=3)


def test_finishing_on_the_last_turn_counts_as_finished():
    async def test(environment, verifier):
        assert (await environment.step(FINISH)).stop_reason is StopReason.finished

    in_environment(test, max_turns=1)


def test_repetition_is_stuck():
    async def test(environment, verifier):
        reasons = [(await environment.step(say("Done."))).stop_reason for _ in range(3)]
        assert reasons == [None, None, StopReason.stuck]

    in_environment(test)


def test_the_token_budget_counts_the_policys_own_tokens():
    async def test(environment, verifier):
        first = await environment.step(say("a", prompt_tokens=900, completion_tokens=50))
        assert first.stop_reason is None
        second = await environment.step(say("b", prompt_tokens=960, completion_tokens=40))
        assert second.stop_reason is StopReason.max_tokens

    in_environment(test, max_tokens=1000)


def test_the_token_budget_counts_characters_where_tokens_are_unknown():
    async def test(environment, verifier):
        assert (await environment.step(say("x" * 1000))).stop_reason is None
        assert (await environment.step(say("x" * 3000))).stop_reason is StopReason.max_tokens

    in_environment(test, max_tokens=1000)


def test_a_command_may_not_outlast_the_trajectory():
    async def test(environment, verifier):
        step = await environment.step(call("execute_bash", command="sleep 30", timeout=30))
        assert step.stop_reason is StopReason.wall_time
        assert step.observation[0].tool_call_id == "call_0"
        assert (await environment.verify(StopReason.wall_time)).resolved

    in_environment(test, wall_seconds=0.3)


def test_time_counts_while_the_agent_works_and_not_while_a_model_is_asked():
    steps = [(0.0, 4.0), (1000.0, 1004.0), (9000.0, 9004.0)]  # began, ended: 12 seconds of work
    times = iter([moment for step in steps for moment in step])

    async def test(environment, verifier):
        reasons = [(await environment.step(say(text))).stop_reason for text in "abc"]
        assert reasons == [None, None, StopReason.wall_time]

    in_environment(test, wall_seconds=10, clock=lambda: next(times))


def test_a_model_that_is_asked_for_longer_than_a_sandbox_lives_costs_no_sandbox():
    async def test(environment, verifier):
        for _ in range(2):
            await asyncio.sleep(1.3)
            assert (await environment.step(say("a"))).stop_reason is None
        step = await environment.step(call("execute_bash", command="sleep 30"))
        assert step.stop_reason is StopReason.wall_time

    in_environment(test, limits=Limits(wall_seconds=2), prepare=lay_nothing)


def test_an_agent_whose_sandbox_is_killed_for_its_time_ends_as_data():
    async def test(environment, verifier):
        step = await environment.step(call("execute_bash", command="sleep 30"))
        assert step.stop_reason is StopReason.wall_time
        assert "wall_seconds" in step.observation[0].content
        verdict = await environment.verify(StopReason.wall_time)
        assert (verdict.resolved, verdict.details["submitted"]) == (False, False)
        assert verifier.asked == []

    in_environment(test, limits=Limits(wall_seconds=0.5), prepare=lay_nothing)


@pytest.mark.parametrize(
    "command",
    [
        "f() { f | f & }; f",
        "python3 -c 'x = bytearray(1 << 30); x[::4096] = b\"x\" * (1 << 18)'",
        "yes > big & yes > bigger",
        "kill -9 -1",
        "kill -9 1",
    ],
)
def test_whatever_an_agent_does_to_its_machine_is_data(command):
    async def test(environment, verifier):
        for _ in range(3):
            step = await environment.step(call("execute_bash", command=command, timeout=2))
            assert step.observation[0].role == "tool"
            if step.stop_reason is not None:
                assert step.stop_reason in (StopReason.limit_exceeded, StopReason.stuck)
                break

    limits = Limits(memory_bytes=256 << 20, processes=20, disk_bytes=32 << 20, file_bytes=16 << 20)
    in_environment(test, limits=limits)
