"""The oracle resolves every task, from any state: alone, beside a random student, and after deliberate damage."""

import asyncio
import time
from collections import Counter
from typing import Literal

import pytest

from turnmix.core.errors import SandboxError
from turnmix.core.message import ToolSpecification
from turnmix.core.trajectory import StopReason
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.environments.oracle.offered_tools import FINISH_COMMANDS, OfferedTools
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.nano.wanderer import make_wanderer
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action, turn_number
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import AggrevateMixture, DaggerMixture, TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.editor import Editor
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.scaffold.think import Finish
from turnmix.scaffold.tool import Tool
from turnmix.scaffold.tool_choice import ALL_BUILT_IN

WRECKS = {
    "edits the wrong line": "sed -i '1c\\broken' *.py",
    "empties every file": "for file in *.py; do : > $file; done",
    "deletes every file": "rm -f *.py",
    "overwrites one file with another": "for file in *.py; do cat run_tests.py > $file; done",
    "edits the tests": "echo 'raise SystemExit(0)' > test_repo.py",
    "removes version control": "rm -rf .git; : > test_repo.py",
    "leaves the directory": "cd / && ls",
    "shadows a module": "echo 'raise ImportError' > sys_helper.py; mkdir -p test_repo",
    "starts what never ends": "sleep 1000",
    "changes the shell": "python3() { echo 0 failed; }; exec 2>/dev/null; export PATH=/nowhere:$PATH",
}


class Shell(Tool):
    """Run a command."""

    kind: str = "Shell"
    name = "bash"

    async def call(self, command: str) -> str:
        done = await self.parts.sandbox.run(command, working_directory=self.parts.working_directory)
        return done.output.decode(errors="replace")


class Terminal(Shell):
    """Run a command, in whatever directory."""

    kind: str = "Terminal"
    name = "run_shell"

    async def call(self, cmd: str, reason: Literal["looking", "working"], is_quiet: bool) -> str:
        return await super().call(f"cd / && {cmd}" if reason != "looking" else cmd)


class Edit(Editor):
    """An editor under another name."""

    name = "file_editor"


class Submit(Finish):
    """The end under another name."""

    name = "submit"


FOREIGN = {
    "a shell alone": [Shell(), Submit()],
    "other names, other arguments and an editor": [Terminal(), Edit(), Submit()],
}


def wanderer(seed):
    return lambda source: make_wanderer("wanderer", seed, source.solution)


def roll_out(
    make_student,
    mixture,
    *,
    num_tasks,
    max_turns=40,
    iteration=1,
    beside=None,
    solving=None,
    tools=ALL_BUILT_IN,
    no_output_seconds=60.0,
):
    """`beside`: a coroutine that runs along; `solving`: is told of each solution, in its thread."""
    scaffold = ScaffoldSettings(max_turns=max_turns, no_output_seconds=no_output_seconds, tools=tools)
    source = MinirepoSource(MinirepoSettings(), make_sandbox=BubblewrapSettings().make, scaffold=scaffold)
    plans = make_plans(
        source.tasks("train")[:num_tasks], iteration=iteration, seed=0, cohort_size=1, beta=None
    )

    def solution(task):
        if solving is not None:
            solving(task)
        return source.solution(task)

    async def run():
        along = asyncio.ensure_future(beside()) if beside is not None else None
        oracle = OraclePolicy(solution)
        try:
            return await collect(
                RolloutRequest(
                    plans=plans,
                    source=source,
                    student=make_student(source),
                    teacher=oracle,
                    mixture=mixture,
                    label=True,
                    concurrency=8,
                    backoff_seconds=0.01,
                )
            )
        finally:
            await oracle.close()
            if along is not None:
                along.cancel()

    return asyncio.run(run())


def test_alone_it_resolves_every_task_in_few_turns():
    trajectories = roll_out(wanderer(0), TeacherMixture(), num_tasks=12)
    assert [trajectory.verdict.resolved for trajectory in trajectories] == [True] * 12
    assert all(6 <= len(trajectory.turns) <= 16 for trajectory in trajectories)


@pytest.mark.parametrize("tools", FOREIGN.values(), ids=FOREIGN)
def test_it_works_with_the_tools_of_a_foreign_scaffold(tools):
    trajectories = roll_out(wanderer(0), TeacherMixture(), num_tasks=4, tools=tools)
    assert [trajectory.verdict.resolved for trajectory in trajectories] == [True] * 4
    called = {turn.action.message.tool_calls[0].name for each in trajectories for turn in each.turns}
    assert called <= {tool.name for tool in tools}


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("End with `echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT`.", {"command": FINISH_COMMANDS[0]}),
        ("Solve it.", "done"),
    ],
    ids=["by the command that the prompt names", "else in words"],
)
def test_it_ends_a_task_where_no_tool_does(prompt, said):
    tools = OfferedTools.of((Shell().specification,), prompt=prompt)
    message = tools.say(call_action("finish", message="done")).message
    assert (message.tool_calls[0].arguments if message.tool_calls else message.content) == said


def test_it_gives_what_else_a_tool_requires_and_a_command_as_a_list_where_that_is_wanted():
    properties = {
        "command": {"type": "array", "items": {"type": "string"}},
        "risk": {"type": "string", "enum": ["low", "high"]},
        "workdir": {"type": "string"},
    }
    schema = {"type": "object", "properties": properties, "required": ["command", "risk"]}
    tools = OfferedTools.of((ToolSpecification(name="shell", description="", parameters=schema),), prompt="")
    (call,) = tools.say(call_action("execute_bash", command="ls", timeout=1800)).message.tool_calls
    assert call.arguments == {"command": ["bash", "-lc", "ls"], "risk": "low"}
    assert tools.command_in(call.arguments) == "bash -lc ls"


def test_beside_a_random_student_it_resolves_all_that_the_student_does_not_give_up():
    trajectories = roll_out(wanderer(1), DaggerMixture(decay=1, floor=0.6), num_tasks=16, iteration=2)
    students = [turn.actor == "student" for trajectory in trajectories for turn in trajectory.turns]
    assert 0.25 < sum(students) / len(students) < 0.55
    ended_by_teacher = [
        trajectory
        for trajectory in trajectories
        if trajectory.stop_reason is StopReason.finished and trajectory.turns[-1].actor == "teacher"
    ]
    assert len(ended_by_teacher) >= 10
    assert all(trajectory.verdict.resolved for trajectory in ended_by_teacher)


@pytest.mark.parametrize("command", WRECKS.values(), ids=WRECKS)
def test_it_recovers_when_the_student(command):
    def wreck(episode, state):
        return call_action("execute_bash", command=command if turn_number(state) == 1 else "true")

    mixture = AggrevateMixture(support=(2, 2))
    # What never ends is left after a while; what does may take its time on a busy machine.
    patience = {"no_output_seconds": 5.0} if command == WRECKS["starts what never ends"] else {}
    (trajectory,) = roll_out(lambda source: ScriptedPolicy("vandal", wreck), mixture, num_tasks=1, **patience)
    assert trajectory.turns[1].action.message.tool_calls[0].arguments["command"] == command
    assert trajectory.stop_reason is StopReason.finished
    assert trajectory.verdict.resolved


def test_a_student_that_locks_its_workspace_is_unresolved_and_no_failure_around_it():
    def lock(episode, state):
        return call_action("execute_bash", command="chmod 000 ." if turn_number(state) == 1 else "true")

    mixture = AggrevateMixture(support=(2, 2))
    (trajectory,) = roll_out(lambda source: ScriptedPolicy("vandal", lock), mixture, num_tasks=1, max_turns=6)
    assert trajectory.stop_reason is not StopReason.infra_error
    assert not trajectory.verdict.resolved


def test_it_names_the_same_step_for_the_same_state():
    first, second = (
        roll_out(wanderer(2), DaggerMixture(decay=1, floor=0.5), num_tasks=4, iteration=2) for _ in range(2)
    )
    for one, other in zip(first, second):
        assert [turn.label for turn in one.turns] == [turn.label for turn in other.turns]


def test_a_solution_that_takes_long_holds_up_nothing_else():
    ticks = []
    ticks_meanwhile = []

    async def watch():
        while True:
            await asyncio.sleep(0.01)
            ticks.append(1)

    def solve(task):
        before, deadline = len(ticks), time.monotonic() + 60
        while len(ticks) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        ticks_meanwhile.append(len(ticks) - before)

    trajectories = roll_out(wanderer(0), TeacherMixture(), num_tasks=2, beside=watch, solving=solve)
    assert [trajectory.verdict.resolved for trajectory in trajectories] == [True] * 2
    assert min(ticks_meanwhile) > 0


def test_a_solution_that_cannot_be_read_is_an_infrastructure_error_and_is_tried_again():
    asked = Counter()

    def fail_once(task):
        asked[task.id] += 1
        if asked[task.id] == 1:
            raise SandboxError("the container did not start")

    trajectories = roll_out(wanderer(0), TeacherMixture(), num_tasks=2, solving=fail_once)
    assert [trajectory.attempts for trajectory in trajectories] == [2, 2]
    assert [trajectory.verdict.resolved for trajectory in trajectories] == [True] * 2


def test_a_solution_is_not_read_before_the_first_look():
    solved = []
    source = MinirepoSource(
        MinirepoSettings(),
        make_sandbox=BubblewrapSettings().make,
        scaffold=ScaffoldSettings(),
    )
    task = source.tasks("train")[0]
    episode = Episode(trajectory_id="i", task=task, seed=0, inspectable=source.environment(task))
    OraclePolicy(solved.append).begin(episode)
    assert solved == []
