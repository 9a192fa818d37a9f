"""A workspace is read by the supervisor, whatever the agent's processes do to it meanwhile."""

import asyncio

import pytest
from scaffold_in_sandbox import WORKSPACE, needs_sandbox

from turnmix.environments.workspace import read_workspace
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.local import UnsandboxedSandbox

pytestmark = needs_sandbox
WIDE_AND_DEEP = """
import os
os.mkdir("wide")
for number in range(30000):
    open(f"wide/{number}", "w").close()
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
open("file", "w").close()
"""
SWAP = """
import os
os.mkdir("real")
os.symlink("/etc", "link")
open("real/file", "w").close()
while True:
    for name in ("real", "link"):
        os.rename(name, "d")
        os.rename("d", name)
"""


async def run(sandbox, script):
    result = await sandbox.run(script, working_directory=WORKSPACE, timeout=200)
    assert result.exit_code == 0, result.output


def read(test, make=BubblewrapSandbox):
    async def whole():
        sandbox = make()
        await sandbox.start()
        try:
            return await asyncio.wait_for(test(sandbox), 300)
        finally:
            await sandbox.stop()

    return asyncio.run(whole())


def test_a_file_that_does_not_fit_hides_no_other_one():
    async def test(sandbox):
        await run(sandbox, "truncate -s 60M a_dump; echo 1 > b.py; ln b.py c.py")
        return await read_workspace(sandbox, WORKSPACE)

    assert read(test) == {"b.py": b"1\n", "c.py": b"1\n"}


def test_the_deepest_tree_and_the_widest_directory_come_to_an_end():
    async def test(sandbox):
        await sandbox.write_file("/tmp/make.py", WIDE_AND_DEEP.encode())
        await run(sandbox, "python3 /tmp/make.py")
        return await read_workspace(sandbox, WORKSPACE, first=["wide/7"])

    files = read(test)
    assert "wide/7" in files
    assert 10_000 < len(files) < 20_000


def test_a_large_tree_keeps_no_command_waiting():
    """It would answer one of each kind, were they kept waiting; how many it does, a busy machine says too."""

    async def answered(sandbox):
        reading = asyncio.ensure_future(read_workspace(sandbox, WORKSPACE))

        async def ended_meanwhile(make):
            number = 0
            while not reading.done():
                await make()
                number += 1
            return number

        return await asyncio.gather(
            ended_meanwhile(lambda: sandbox.run("echo 1")),
            ended_meanwhile(lambda: sandbox.read_file("/testbed/1")),
        )

    async def test(sandbox):
        await run(sandbox, "seq 16000 | xargs touch")
        for _ in range(20):
            commands, files = await answered(sandbox)
            if commands > 2 and files > 4:
                break
        return commands, files

    commands, files = read(test)
    assert commands > 2
    assert files > 4


def test_a_reader_that_gives_up_leaves_a_sandbox_that_works():
    async def test(sandbox):
        await run(sandbox, "seq 16000 | xargs touch; echo 1 > file.py")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read_workspace(sandbox, WORKSPACE), 0.01)
        return await read_workspace(sandbox, WORKSPACE, limit=2000, first=["file.py"])

    assert read(test)["file.py"] == b"1\n"


def test_a_directory_that_becomes_a_link_while_it_is_read_leads_nowhere():
    async def test(sandbox):
        await sandbox.write_file("/tmp/swap.py", SWAP.encode())
        await run(sandbox, "nohup python3 /tmp/swap.py > /dev/null 2>&1 & sleep 0.3")
        return [await read_workspace(sandbox, WORKSPACE) for _ in range(200)]

    for files in read(test):
        assert set(files) <= {"real/file", "d/file"}


def test_a_file_that_grows_while_it_is_read_is_no_more_than_fits():
    async def test(sandbox):
        await run(sandbox, "nohup sh -c 'while :; do echo line >> log; done' > /dev/null 2>&1 & sleep 0.1")
        return [await read_workspace(sandbox, WORKSPACE, limit=30_000) for _ in range(50)]

    for files in read(test):
        assert set(files) <= {"log"}
        assert all(len(content) < 30_000 for content in files.values())


def test_without_a_sandbox_the_same_files_are_read():
    async def test(sandbox):
        await sandbox.write_file(f"{WORKSPACE}/a/b.py", b"1\n")
        return await read_workspace(sandbox, WORKSPACE, first=["a/b.py"])

    assert read(test, UnsandboxedSandbox) == {"a/b.py": b"1\n"}
