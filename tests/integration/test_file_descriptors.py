"""Sandboxes, servers and connections under `ulimit -n`: as many as it carries, and nothing is left of what fails."""

import asyncio
import os
import resource
from dataclasses import replace

import pytest
from container_runtime import DEBIAN, needs_containers, settings
from failing_endpoint import FailingEndpoint, completion
from held_things import under_limit
from long_tests import takes_minutes

from turnmix.cli import main
from turnmix.sandboxes.selection import BubblewrapSettings

try:
    BubblewrapSettings().check()
    MISSING = ""
except Exception as error:
    MISSING = str(error)
needs_bubblewrap = pytest.mark.skipif(bool(MISSING), reason=MISSING)

AT_ONCE = """
import asyncio, os, random
from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.core.trajectory import State
from turnmix.policies.endpoint.policy import EndpointPolicy, EndpointSettings
from turnmix.policies.policy import Episode
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox

TASK = Task(id="t", problem_statement="")
STATE = State(messages=(Message(role="user", content="Say it."),), tools=())

async def one(number, policy, all_there):
    sandbox = BubblewrapSandbox()
    session = policy.begin(Episode(trajectory_id=str(number), task=TASK, seed=number))
    try:
        await sandbox.start()
        all_there.append(number)
        while len(all_there) < 256:
            await asyncio.sleep(0.1)
        action = await session.act(STATE)
        result = await sandbox.run("cat", stdin=action.message.content.encode() * 100, timeout=600)
        return result.output
    finally:
        await sandbox.stop()

async def all_of_them():
    settings = EndpointSettings(
        endpoint="{url}", model="m", max_concurrency=256, max_attempts=1, api_key_environment=None
    )
    policy = EndpointPolicy(settings, generator=random.Random(0))
    all_there = []
    outputs = await asyncio.gather(*(one(number, policy, all_there) for number in range(256)))
    await policy.close()
    assert set(outputs) == {{b"it" * 100}}

asyncio.run(all_of_them())
"""
# At each limit from where nothing goes to where all does, a sandbox starts or fails.
LEVELS = """
import asyncio, re
from held_things import expect_nothing_more_than, held_at_rest, limit_to, own_orphans
from turnmix.core.errors import SandboxError
from turnmix.sandboxes.{module} import {kind}

async def started():
    sandbox = {kind}()
    try:
        await sandbox.start()
        return (await sandbox.run("echo yes")).output.decode()
    except SandboxError as error:
        return str(error)
    finally:
        await sandbox.stop()

async def all_levels():
    own_orphans()
    await started()
    before = await held_at_rest()
    told = []
    for limit in range(len(before["descriptors"]), 40):
        limit_to(limit)
        told.append(await started())
        limit_to(1024)
        await expect_nothing_more_than(before, limit)
    failed = [line for line in told if line != "yes\\n"]
    assert failed == told[:len(failed)] and 5 < len(failed) < 20, told
    assert all(re.search(r"no file descriptor left \\(ulimit -n is \\d+, hard limit 1,024\\)", line) for line in failed)

asyncio.run(all_levels())
"""
# Cancelled after each few milliseconds of a start, out of time, and without bwrap.
FAILING = """
import asyncio, os
from held_things import expect_nothing_more_than, held_at_rest, own_orphans
from turnmix.core.errors import SandboxError
from turnmix.sandboxes import supervised
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.local import UnsandboxedSandbox

async def cut(kind, seconds):
    sandbox = kind()
    try:
        await asyncio.wait_for(sandbox.start(), seconds)
        await sandbox.stop()
        return True
    except asyncio.TimeoutError:
        return False

async def failing(kind):
    sandbox = kind()
    try:
        await sandbox.start()
    except SandboxError as error:
        return str(error)

async def all_failures():
    own_orphans()
    for kind in (BubblewrapSandbox, UnsandboxedSandbox):
        while not await cut(kind, 60): pass
        before = await held_at_rest()
        ended = [await cut(kind, 0.002 * step) for step in range(20)]
        assert not all(ended)
        await expect_nothing_more_than(before, kind)
        supervised.START_SECONDS = 0.0
        assert "TimeoutError" in await failing(kind)
        supervised.START_SECONDS = 60.0
        await expect_nothing_more_than(before, kind)
    os.environ["PATH"] = "/nowhere"
    assert "bwrap" in await failing(BubblewrapSandbox)
    await expect_nothing_more_than(before, "bwrap")

asyncio.run(all_failures())
"""
SERVER = """
import os, time
from pathlib import Path
from turnmix.core.file_descriptors import open_limit, raise_limit
from turnmix.policies.server.process import ServerProcess
raise_limit()
before = len(os.listdir("/proc/self/fd"))
for number in range(3):
    process = ServerProcess(["sh", "-c", "ulimit -Sn; ulimit -Hn"], environment={}, log=Path("log"))
    while process.is_alive: time.sleep(0.01)
    process.stop()
    del process
print(open_limit(), *Path("log").read_text().split()[:2], len(os.listdir("/proc/self/fd")) - before)
"""
COMMAND = """
import asyncio
from turnmix.core.file_descriptors import raise_limit
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
raise_limit()
async def limit():
    sandbox = BubblewrapSandbox()
    await sandbox.start()
    print((await sandbox.run("ulimit -Sn")).output.decode())
    await sandbox.stop()
asyncio.run(limit())
"""
CONNECTING = """
import asyncio, os
from failing_endpoint import FailingEndpoint, completion
from held_things import expect_nothing_more_than, held, limit_to
from turnmix.policies.endpoint.client import EndpointClient

async def asked():
    async with FailingEndpoint(lambda *_: completion("yes")) as endpoint:
        for _ in range(20):
            client = EndpointClient(endpoint.url, None, max_idle=4)
            assert (await client.send("POST", "/chat/completions", {}, timeout=300)).status == 200
            await client.close()
            del client
        while not all(handler.done() for handler in endpoint._handlers):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.02)  # what they held is closed by the loop
        before = held()
        client = EndpointClient(endpoint.url, None, max_idle=4)
        limit_to(len(before["descriptors"]) - 1)
        fault = await client.send("POST", "/chat/completions", {}, timeout=300)
        limit_to(64)
        await client.close()
        await expect_nothing_more_than(before, "connecting")
        print(fault.detail)
asyncio.run(asked())
"""
FEW = """
from turnmix.cli import main
words = ["minirepo_sft", "iterations=1", "tasks={train: 4, holdout: 2}", "scaffold.max_turns=3", "data.filter=all",
         "rollouts={tasks_per_iteration: 4, concurrency: 4}", "evaluation={tasks: 2, base: false}",
         "learner.epochs=1", "student.max_new_tokens=8", "--run", "run"]
assert main(["train", *words]) == 0
"""
# A first container, a further one and a shell where one descriptor after the other is missing; and cancelled starts.
CONTAINERS = """
import asyncio, contextlib, time
import docker.errors, requests
from held_things import held, hold_all_but, limit_to
from turnmix.core.errors import SandboxError
from turnmix.sandboxes.container.engine import engine_for
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import ContainerSettings

SETTINGS = ContainerSettings(socket="{socket}", pull="never")

async def outcome(action, num_free):
    with hold_all_but(num_free):
        try:
            await action()
            return ""
        except SandboxError as error:
            return str(error)

async def all_failures():
    sandbox = ContainerSandbox("{image}", settings=SETTINGS)
    told = [await outcome(sandbox.start, 0)]
    await sandbox.stop()
    sandbox = ContainerSandbox("{image}", settings=SETTINGS)
    await sandbox.start()
    async def shell():
        await sandbox.open_terminal(working_directory="/")
    before = held()["descriptors"]
    told.append(await outcome(shell, 0))
    other = ContainerSandbox("{image}", settings=SETTINGS)
    told.append(await outcome(other.start, 0))
    await other.stop()
    for step in range(8):
        other = ContainerSandbox("{image}", settings=SETTINGS)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(other.start(), 0.02 * step)
        await other.stop()
    # Connections that are kept to be used again are few and known.
    def kept():
        return [link for link in held()["descriptors"] if link != "socket"]
    deadline, before = time.monotonic() + 60, [link for link in before if link != "socket"]
    while kept() != before and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert kept() == before, (before, kept())
    await sandbox.stop()
    assert all("this process has no file descriptor left (ulimit -n is " in line for line in told), told
    assert engine_for(SETTINGS).api.containers(all=True, filters={{"name": other.name}}) == []

asyncio.run(all_failures())
"""
MANY_CONTAINERS = """
import asyncio
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import ContainerSettings
from turnmix.sandboxes.sandbox import Limits

LIMITS = Limits(memory_bytes=64 << 20, disk_bytes=64 << 20, wall_seconds=900)
SETTINGS = ContainerSettings(socket="{socket}", pull="never")

async def used(sandbox):
    await sandbox.open_terminal(working_directory="/")
    return (await sandbox.run("echo here", timeout=300)).output

async def all_of_them():
    sandboxes = [ContainerSandbox("{image}", limits=LIMITS, settings=SETTINGS) for _ in range(256)]
    try:
        await asyncio.gather(*(sandbox.start() for sandbox in sandboxes))
        assert set(await asyncio.gather(*map(used, sandboxes))) == {{b"here\\n"}}
    finally:
        await asyncio.gather(*(sandbox.stop() for sandbox in sandboxes))

asyncio.run(all_of_them())
"""


@needs_containers
def test_a_container_or_its_shell_without_a_descriptor_is_an_infrastructure_error_that_names_the_limit():
    under_limit(CONTAINERS.format(socket=settings().socket, image=DEBIAN), 128)


@needs_containers
@takes_minutes
def test_256_containers_with_shells_work_under_1024_descriptors():
    under_limit(MANY_CONTAINERS.format(socket=settings().socket, image=DEBIAN), 1024)


@needs_bubblewrap
def test_256_sandboxes_start_and_work_under_1024_descriptors_beside_256_connections():
    async def beside_an_endpoint():
        reply = replace(completion("it"), delay=0.5)
        async with FailingEndpoint(lambda *_: reply) as endpoint:
            program = AT_ONCE.format(url=endpoint.url)
            await asyncio.to_thread(under_limit, program, 1024)

    asyncio.run(beside_an_endpoint())


@needs_bubblewrap
@pytest.mark.parametrize(
    ("module", "kind"), [("bubblewrap", "BubblewrapSandbox"), ("local", "UnsandboxedSandbox")]
)
def test_a_start_that_runs_out_of_descriptors_names_the_limit_and_leaves_nothing(module, kind):
    under_limit(LEVELS.format(module=module, kind=kind), 1024)


@needs_bubblewrap
def test_a_start_that_is_cancelled_late_or_lacks_bubblewrap_leaves_nothing():
    under_limit(FAILING, 1024)


def test_a_server_has_the_limit_that_turnmix_was_started_with(tmp_path):
    assert under_limit(SERVER, 500, 900, cwd=tmp_path).split() == ["900", "500", "900", "0"]


@needs_bubblewrap
def test_a_sandbox_has_no_more_descriptors_than_select_can_watch():
    assert under_limit(COMMAND, 500, 2000).strip() == "1024"


def test_a_connection_without_a_descriptor_names_the_limit():
    assert "cannot connect: this process has no file descriptor left (ulimit -n is " in under_limit(
        CONNECTING, 64
    )


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_more_sandboxes_than_descriptors_carry_are_refused_before_any_work(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = {"train": ["minirepo_dagger"], "evaluate": ["teacher", "minirepo_dagger"]}[command]
    assert main([command, *words, "rollouts.concurrency=9000000"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "rollouts.concurrency = 9000000: so many trajectories at once take" in told[0]
    assert "ulimit -n" in told[0]
    assert "set rollouts.concurrency=" in told[0]
    assert os.listdir() == []


@needs_bubblewrap
def test_a_run_of_few_sandboxes_needs_few_descriptors(tmp_path):
    under_limit(FEW, 128, cwd=tmp_path)


@needs_bubblewrap
def test_doctor_says_how_many_sandboxes_the_limit_carries_and_takes_it_back(capsys):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
    try:
        main(["doctor", "minirepo_dagger"])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1] - 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    told = capsys.readouterr().out
    assert f"raised from {before[1] - 1:,}: enough for " in told
    assert "sandboxes at once; rollouts.concurrency = 64" in told
