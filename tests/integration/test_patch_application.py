"""Patches of repositories that lie in archives: taken whole or not; applied whole, forwards, or not at all."""

import asyncio

import pytest
from own_code import MAKE_SANDBOX
from scaffold_in_sandbox import WORKSPACE, needs_sandbox

from turnmix.environments.repositories.archive.execution import execute_tests
from turnmix.environments.repositories.archive.files import pack_tree
from turnmix.environments.repositories.archive.patch import read_tree
from turnmix.environments.repositories.image.preparation import take_image_patch
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox

pytestmark = needs_sandbox
ROW = TaskRow(
    instance_id="owner__name-1",
    source="hand",
    repository="owner/name",
    image="image:1",
    working_directory=WORKSPACE,
    problem_statement="It is broken.",
    gold_patch="diff --git a/x b/x\n",
    fail_to_pass=("a",),
    test_command="pytest",
    evaluation_script="pytest",
)
LINES = [f"line {number}\n" for number in range(1, 10)]


def executed(folder, patch):
    """What a script sees that prints the two files of the repository."""
    (folder / "code").mkdir()
    for name in ("one.txt", "other.txt"):
        (folder / "code" / name).write_text("".join(LINES))
    row = TaskRow(
        instance_id="owner__name-1",
        source="hand",
        repository="owner/name",
        archive=f"archives/{'0' * 64}.tar.gz",
        problem_statement="It is broken.",
        gold_patch="diff --git a/x b/x\n",
        fail_to_pass=("a",),
        test_command="pytest",
        evaluation_script="cat one.txt other.txt; ls\n",
    )
    return asyncio.run(execute_tests(row, pack_tree(folder / "code"), patch.encode(), MAKE_SANDBOX(row)))


def change(name, *, context=("line 1", "line 2", "line 3"), replaced="line 2"):
    """A patch of the first three lines of a file."""
    body = "".join(f"-{line}\n+changed {name}\n" if line == replaced else f" {line}\n" for line in context)
    return f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1,3 +1,3 @@\n{body}"


NEAR = ("line one", "line 2", "line 3")


def test_a_patch_of_which_git_can_apply_a_part_is_applied_whole_with_fuzz(tmp_path):
    execution = executed(tmp_path, change("one.txt") + change("other.txt", context=NEAR))
    assert execution.applied
    assert "changed one.txt" in execution.log
    assert "changed other.txt" in execution.log
    assert ".rej" not in execution.log


def test_a_patch_that_was_applied_before_is_not_taken_back(tmp_path):
    reverse = change("one.txt", context=("line 1", "changed one.txt", "line 3"), replaced="changed one.txt")
    reverse = reverse.replace("+changed one.txt", "+line 2")
    execution = executed(tmp_path, reverse)
    assert not execution.applied


def test_a_patch_of_which_a_part_fits_nowhere_is_not_applied(tmp_path):
    assert not executed(
        tmp_path, change("one.txt") + change("other.txt", context=("x", "y", "z"), replaced="y")
    ).applied


def test_a_patch_larger_than_a_file_may_be_is_not_applied(tmp_path):
    large = change("one.txt").replace("+changed", "+" + "x" * BubblewrapSandbox().limits.file_bytes)
    execution = executed(tmp_path, large)
    assert not execution.applied
    assert "File too large" in execution.log


def test_an_agents_tree_that_cannot_be_read_in_time_is_none():
    sandbox = BubblewrapSandbox()

    async def read():
        try:
            await sandbox.start()
            await sandbox.run("for n in 1 2 3 4 5 6 7 8; do head -c 10000000 /dev/urandom > $n; done",
                              working_directory=WORKSPACE)  # fmt: skip
            return await read_tree(sandbox, WORKSPACE, timeout=0.001)
        finally:
            await sandbox.stop()

    assert asyncio.run(read()) is None


SUBMODULE = """\
git init -q . && git config user.name a && git config user.email a@b && git init -q sub
for place in sub .; do (cd $place; git config user.name a; git config user.email a@b; echo 1 > own.txt); done
(cd sub; git add -A; git commit -qm one); git add -A 2>/dev/null; git commit -qm one
"""
TOUCHES = {
    "a commit inside": "(cd sub; echo 2 > own.txt; git commit -qam two)",
    "an edit inside": "echo 2 > sub/own.txt",
    "removed": "rm -rf sub",
    "no repository any more": "rm -rf sub/.git",
}


@pytest.mark.parametrize("command", TOUCHES.values(), ids=TOUCHES)
def test_what_an_agent_does_inside_a_submodule_is_in_no_patch(command):
    sandbox = BubblewrapSandbox()

    async def taken():
        try:
            await sandbox.start()
            made = await sandbox.run(SUBMODULE + "git rev-parse HEAD", working_directory=WORKSPACE)
            base = made.output.decode().split()[-1]
            await sandbox.run(f"{command}; echo 2 > own.txt", working_directory=WORKSPACE)
            return await take_image_patch(ROW, base, sandbox)
        finally:
            await sandbox.stop()

    patch = asyncio.run(taken()).decode()
    assert [line for line in patch.split("\n") if line.startswith("diff --git")] == [
        "diff --git a/own.txt b/own.txt"
    ]
    assert "Subproject" not in patch
