"""A tool of a user's own in a trajectory: the docs' example works in the sandbox, a failing one ends nothing."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
from scaffold_in_sandbox import any_sandbox, call, new_sandbox  # noqa: F401 (any_sandbox: every test, in each kind)

from turnmix.core.task import Task, Workspace
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.scaffold.scaffold import ScaffoldSettings

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"
BROKEN = '''
import time
from turnmix.scaffold.tool import Tool


class Broken(Tool):
    """Fail, or never answer."""

    def call(self, hang: bool = False):
        if hang:
            time.sleep(1000)
        raise LookupError(f"{__file__} is no word")
'''
FILES = Workspace(working_directory="/testbed", files={"a.txt": "1\n\n3\n"})
TASK = Task(id="t", problem_statement="Count.", workspace=FILES)


async def resolved(task, sandbox, stop_reason):
    return Verdict(resolved=True)


@pytest.fixture
def own(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n((?:(?!```).)*class CountLines.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "my_counting.py").write_text(code)
    (tmp_path / "my_broken.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("my_counting", "my_broken"):
        sys.modules.pop(name, None)


def in_environment(test, *tools, **settings):
    async def run():
        environment = ScaffoldedEnvironment(
            task=TASK,
            sandbox=new_sandbox(None),
            settings=ScaffoldSettings(tools=(*tools, "finish"), **settings),
            verifier=resolved,
        )
        try:
            await environment.reset()
            await test(environment)
        finally:
            await environment.close()

    asyncio.run(asyncio.wait_for(run(), 400))


def test_the_example_of_the_docs_reads_in_the_sandbox(own):
    async def test(environment):
        first = await environment.step(call("count_lines", path="/testbed/a.txt"))
        assert first.observation[0].content == '{"lines": 2, "asked": 1}'
        missing = await environment.step(call("count_lines", path="/testbed/b.txt"))
        assert "FileNotFoundError" in missing.observation[0].content
        assert missing.tool_faults[0].place.startswith("my_counting.py:")

    in_environment(test, {"kind": "my_counting:CountLines", "most": 2})


def test_a_failing_tool_is_told_without_paths_of_the_host_and_the_trajectory_goes_on(own, tmp_path):
    async def test(environment):
        step = await environment.step(call("broken"))
        told = step.observation[0].content
        assert told == "ERROR: The tool broken failed: LookupError: my_broken.py is no word"
        assert str(tmp_path) not in told
        assert step.stop_reason is None
        assert [fault.place for fault in step.tool_faults] == ["my_broken.py:12 (my_broken:Broken)"]
        assert (await environment.step(call("finish", message=""))).stop_reason is StopReason.finished

    in_environment(test, "my_broken:Broken")


def test_a_tool_that_hangs_is_given_up_and_the_trajectory_goes_on(own):
    async def test(environment):
        hung = await environment.step(call("broken", hang="true"))
        assert "gave no answer within 0.3 seconds" in hung.observation[0].content
        assert hung.stop_reason is None
        assert (await environment.step(call("finish", message=""))).stop_reason is StopReason.finished

    in_environment(test, "my_broken:Broken", hard_timeout_seconds=0.3)


def test_a_tool_that_hangs_takes_no_more_than_the_time_of_its_trajectory(own):
    async def test(environment):
        step = await environment.step(call("broken", hang=True))
        assert step.stop_reason is StopReason.wall_time

    in_environment(test, "my_broken:Broken", wall_seconds=0.5)
