"""Commands whose output is needed whole, in a real sandbox."""

import asyncio

import pytest
from scaffold_in_sandbox import needs_sandbox

from turnmix.core.errors import SandboxError
from turnmix.environments.repositories import commands
from turnmix.environments.repositories.archive import patch as patches
from turnmix.environments.repositories.archive.patch import take_patch
from turnmix.environments.repositories.commands import must_run
from turnmix.environments.repositories.patch_text import PATCH_BYTES
from turnmix.environments.workspace_files import GIT_REPOSITORY
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.store.append_log import LONGEST_LINE

pytestmark = needs_sandbox


def in_sandbox(work):
    async def run():
        sandbox = BubblewrapSandbox()
        try:
            await sandbox.start()
            await sandbox.write_file("/testbed/begun", b"")
            await must_run(sandbox, GIT_REPOSITORY, "/testbed")
            return await work(sandbox)
        finally:
            await sandbox.stop()

    return asyncio.run(run())


def test_output_is_whole_or_an_error():
    size = commands.OUTPUT_BYTES
    assert len(in_sandbox(lambda box: must_run(box, f"head -c {size - 1} /dev/zero", "/"))) == size - 1
    with pytest.raises(SandboxError, match="says more than 64 MiB"):
        in_sandbox(lambda box: must_run(box, f"head -c {size + 1} /dev/zero", "/"))


def test_a_command_that_fails_says_how():
    with pytest.raises(SandboxError, match="exit code 3: no"):
        in_sandbox(lambda box: must_run(box, "echo no; exit 3", "/"))


def test_a_file_that_git_cannot_compare_is_no_patch_and_no_failure():
    async def patch(sandbox):
        command = "yes '' | head -c 60000000 > lines && tar -c lines"
        tree = await sandbox.run(command, working_directory="/testbed", output_limit=1 << 27)
        await must_run(sandbox, "rm lines", "/testbed")
        return await take_patch(tree.output, sandbox, "/testbed")

    assert in_sandbox(patch) is None


def test_a_patch_too_long_to_be_read_whole_is_none_and_no_failure(monkeypatch):
    async def patch(sandbox):
        tree = await must_run(sandbox, "seq 1000 > numbers && tar -c numbers", "/testbed")
        await must_run(sandbox, "rm numbers", "/testbed")
        monkeypatch.setattr(patches, "PATCH_BYTES", 1000)
        return await take_patch(tree, sandbox, "/testbed")

    assert in_sandbox(patch) is None


def test_a_patch_takes_a_line_of_the_journal_that_is_read_again():
    assert 6 * PATCH_BYTES < LONGEST_LINE  # of a character that no line shows, JSON makes six
