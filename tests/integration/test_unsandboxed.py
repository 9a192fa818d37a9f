"""Without a sandbox, a job's end is the end of its own processes, all of them, and of nothing else on the machine."""

import asyncio
import contextlib
import random
import time
from pathlib import Path

import pytest
from sandbox_scenarios import read_until
from scaffold_in_sandbox import needs_sandbox

from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.local import UnsandboxedSandbox
from turnmix.sandboxes.selection import UnsandboxedSettings

BOTH = pytest.mark.parametrize(
    "kind", [UnsandboxedSandbox, pytest.param(BubblewrapSandbox, marks=needs_sandbox)]
)
WAITING = "echo >begun; until [ -e go ]; do sleep 0.05; done; echo survived"
WITHOUT_FIRST_THREAD = """python3 -c '
import ctypes, threading, time
def run_on():
    while ") Z " not in open("/proc/self/stat").read():
        time.sleep(0.01)
    print("BEGUN", flush=True)
    time.sleep({token})
threading.Thread(target=run_on).start()
ctypes.CDLL(None).pthread_exit(None)'"""


def new_token():
    """Seconds to sleep for, by which processes are known on the whole machine."""
    return str(random.SystemRandom().randrange(10**9, 9 * 10**9))


def processes_with(token):
    """Those whose command line holds it, as one of their threads tells; a zombie tells none."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/task/*/cmdline"):
        with contextlib.suppress(OSError):
            if token.encode() in path.read_bytes():
                found.add(path.parts[2])
    return found


async def begin(sandbox, command):
    running = asyncio.ensure_future(sandbox.run(command, working_directory="/testbed"))
    while True:
        try:
            await sandbox.read_file("/testbed/begun")
        except FileNotFoundError:
            await asyncio.sleep(0.02)
        else:
            return running


async def open_terminal(sandbox):
    """A terminal, and what its job is called."""
    terminal = await sandbox.open_terminal(working_directory="/")
    await terminal.write(b"echo JOB $SANDBOX_JOB.\n")
    return terminal, (await read_until(terminal, b".\n")).rpartition(b"JOB ")[2].strip(b".\n").decode()


def wait_for_processes(token, number):
    deadline = time.monotonic() + 60
    while len(found := processes_with(token)) != number:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_unsandboxed_is_chosen_by_name_and_cleans_up():
    token = new_token()

    async def scenario():
        sandbox = UnsandboxedSettings().make()
        await sandbox.start()
        try:
            await sandbox.write_file("/testbed/file", b"here")
            assert await sandbox.read_file("/testbed/file") == b"here"
            assert (await sandbox.run("cat file", working_directory="/testbed")).output == b"here"
            terminal = await sandbox.open_terminal(working_directory="/testbed")
            await terminal.write(f"(setsid sleep {token} &) ; echo DONE\n".encode())
            await read_until(terminal, b"DONE\n")
            wait_for_processes(token, 1)
        finally:
            await sandbox.stop()
        return sandbox.root

    assert not Path(asyncio.run(scenario())).exists()
    assert not processes_with(token)


@BOTH
def test_what_ends_in_one_sandbox_ends_nothing_in_another(kind):
    """Jobs of two sandboxes are called the same."""

    async def scenario():
        there, here = kind(), UnsandboxedSandbox()
        try:
            await there.start()
            await here.start()
            running = await begin(there, WAITING)
            terminal, name = await open_terminal(there)
            others = [await open_terminal(here) for _ in range(int(name))]
            assert name in [other for _, other in others]
            for other, _ in others:
                await other.close()
            timed_out = [await here.run("sleep 60", timeout=0.1) for _ in range(2)]
            assert [result.exit_code for result in timed_out] == [None, None]
            await terminal.write(b"echo ALIVE\n")
            assert b"ALIVE\n" in await read_until(terminal, b"ALIVE\n")
            await there.write_file("/testbed/go", b"")
            return (await running).output
        finally:
            await there.stop()
            await here.stop()

    assert asyncio.run(scenario()) == b"survived\n"


@BOTH
def test_a_job_that_is_killed_takes_nothing_of_another_that_carries_its_mark(kind):
    """As where an agent tries TurnMix itself."""

    async def scenario():
        sandbox = kind()
        try:
            await sandbox.start()
            terminal, name = await open_terminal(sandbox)
            running = await begin(sandbox, f"SANDBOX_JOB={name} sh -c '{WAITING}'; true")
            await terminal.close()
            await sandbox.write_file("/testbed/go", b"")
            return (await running).output
        finally:
            await sandbox.stop()

    assert asyncio.run(scenario()) == b"survived\n"


@BOTH
def test_a_job_that_is_killed_takes_its_daemons_and_what_runs_on_without_its_first_thread(kind):
    async def scenario(token):
        sandbox = kind()
        try:
            await sandbox.start()
            terminal, _ = await open_terminal(sandbox)
            threads = WITHOUT_FIRST_THREAD.format(token=token)
            await terminal.write(f"(setsid sleep {token} &)\n(trap '' HUP; exec {threads})\n".encode())
            await read_until(terminal, b"BEGUN\n")
            wait_for_processes(token, 2)
            await terminal.close()
            wait_for_processes(token, 0)
        finally:
            await sandbox.stop()

    asyncio.run(scenario(new_token()))
