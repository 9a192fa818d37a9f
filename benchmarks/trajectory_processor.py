"""What a trajectory on a small repository takes of the processor, and what its parts take of it.

Processor seconds of this process and of all that it starts, in the kernel too. Every round makes one sandbox for each
part, one after the other, in which that part alone happens several times; a part's figure is the mean over the rounds,
less that of a sandbox without it. The last part is a whole trajectory, as the demo has it: the oracle acts, and looks
at the workspace at each turn. Prints a table and one line of JSON; `look_ratio` is what the supervisor takes to read a
workspace over what the program `tar` takes for the same, `verdict_ratio` what a verdict takes over starting a sandbox,
which it does too.

    OMP_NUM_THREADS=1 python benchmarks/trajectory_processor.py [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.environments.minirepo.source import WORKING_DIRECTORY, MinirepoSettings, MinirepoSource
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.environments.workspace import read_workspace, workspace_of
from turnmix.environments.workspace_files import GIT_REPOSITORY, write_workspace
from turnmix.policies.policy import Episode
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.scaffold.shell import open_shell

TIMES = 10
"""How often a short part happens in one sandbox."""
TASKS = 8
MAKE = BubblewrapSettings().make
SOURCE = MinirepoSource(MinirepoSettings(), make_sandbox=MAKE, scaffold=ScaffoldSettings())
Part = Callable[[Task, Sandbox], Awaitable[None]]


class WithoutReading:
    """A sandbox that runs programs alone."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.run = sandbox.run


async def nothing(task: Task, sandbox: Sandbox) -> None:
    pass


async def type_lines(task: Task, sandbox: Sandbox, *, line: bytes = b"", times: int = TIMES) -> None:
    await write_workspace(task, sandbox)
    shell = await open_shell(sandbox, working_directory=WORKING_DIRECTORY, output_limit=1 << 16)
    assert shell is not None
    for _ in range(times):
        await shell.start(line)
        await shell.wait(quiet_seconds=None, total_seconds=60)
    await shell.close()


async def look(task: Task, sandbox: Sandbox, *, by_program: bool = False) -> None:
    await write_workspace(task, sandbox)
    seen = WithoutReading(sandbox) if by_program else sandbox
    for _ in range(TIMES):
        assert len(await read_workspace(seen, WORKING_DIRECTORY)) == len(workspace_of(task).files)  # type: ignore[arg-type]


async def judge(task: Task, sandbox: Sandbox) -> None:
    """What was laid with git, made right."""
    environment = SOURCE.environment(task)
    try:
        await environment.reset()
        for path, text in SOURCE.solution(task).files.items():
            await environment.privileged_view().write_file(f"{WORKING_DIRECTORY}/{path}", text.encode())
        assert (await environment.verify(StopReason.finished)).resolved
    finally:
        await environment.close()


async def roll_out(task: Task, sandbox: Sandbox) -> None:
    environment = SOURCE.environment(task)
    episode = Episode(task=task, trajectory_id=task.id, seed=0, inspectable=environment)
    try:
        state = await environment.reset()
        session = OraclePolicy(SOURCE.solution).begin(episode)
        while True:
            await session.look()
            action = await session.act(state)
            step = await environment.step(action)
            state = replace(state, messages=(*state.messages, action.message, *step.observation))
            if step.stop_reason is not None:
                break
        assert (await environment.verify(step.stop_reason)).resolved
    finally:
        await environment.close()


# name: (what happens, the part without which it is measured, how often it happens)
PARTS: dict[str, tuple[Part, str | None, int]] = {
    "start and stop": (nothing, None, 1),
    "lay files": (write_workspace, "start and stop", 1),
    "lay files with git": (partial(write_workspace, afterwards=GIT_REPOSITORY), "start and stop", 1),
    "open a shell": (partial(type_lines, times=0), "lay files", 1),
    "command of the shell": (partial(type_lines, line=b":"), "open a shell", TIMES),
    "run the tests": (partial(type_lines, line=b"python3 run_tests.py"), "open a shell", TIMES),
    "look": (look, "lay files", TIMES),
    "look by a program": (partial(look, by_program=True), "lay files", TIMES),
    "verdict": (judge, "lay files with git", 1),
    "whole trajectory": (roll_out, None, 1),
}


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


async def measure(part: Part, task: Task) -> float:
    sandbox = MAKE()
    began = processor_seconds()
    if part not in (judge, roll_out):  # their environment makes one of its own
        await sandbox.start()
    try:
        await part(task, sandbox)
    finally:
        await sandbox.stop()
    return processor_seconds() - began


async def main() -> None:
    parser = argparse.ArgumentParser(description="Processor time of a trajectory and of its parts.")
    parser.add_argument("--rounds", type=int, default=24)
    rounds = parser.parse_args().rounds
    tasks = SOURCE.tasks("train")[:TASKS]
    whole = dict.fromkeys(PARTS, 0.0)
    for number in range(-1, rounds):
        for name, (part, _, _) in PARTS.items():
            seconds = await measure(part, tasks[number % TASKS])
            whole[name] += (
                1000 * seconds / rounds if number >= 0 else 0.0
            )  # the first round warms everything up
    parts = {
        name: (whole[name] - (whole[base] if base else 0.0)) / times
        for name, (_, base, times) in PARTS.items()
    }
    print(f"milliseconds of the processor, mean of {rounds} rounds")
    for name, milliseconds in parts.items():
        print(f"  {name:24}{milliseconds:8.2f}")
    figures = {
        "trajectory_ms": parts["whole trajectory"],
        "look_ratio": parts["look"] / parts["look by a program"],
        "verdict_ratio": parts["verdict"] / parts["start and stop"],
    }
    print(json.dumps({name: round(figure, 3) for name, figure in figures.items()}))


if __name__ == "__main__":
    asyncio.run(main())
