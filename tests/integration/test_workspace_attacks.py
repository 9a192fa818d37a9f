"""What an agent or an image answers, and what a patch says, may do nothing to the machine that reads it."""

import asyncio
import io
import lzma
import os
import tarfile
from pathlib import Path

import pytest
from container_runtime import make_container, needs_containers, settings
from hostile_archives import (
    CODE,
    at_most,
    hard_link,
    header_of,
    is_untouched,
    link,
    make_prey,
    member,
    repository_at,
    row,
    settings_of_git,
    source_of,
    sparse,
    tar,
    write_tar,
)
from scaffold_in_sandbox import WORKSPACE, needs_sandbox
from shelf_image import shelf_row

from turnmix.core.errors import TurnMixError, UserError
from turnmix.environments.repositories.archive.execution import execute_tests
from turnmix.environments.repositories.archive.files import pack_tree
from turnmix.environments.repositories.archive.patch import read_tree, take_patch
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.task_file import write_rows
from turnmix.environments.workspace import read_workspace
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.selection import ContainerSandboxSettings

MEBIBYTE = 1 << 20


@pytest.fixture
def prey(tmp_path):
    return make_prey(tmp_path)


def xz_of(mebibytes):
    packer = lzma.LZMACompressor(preset=0)
    head = member("x", b"", size=mebibytes << 20)[:512]
    parts = [packer.compress(head)]
    parts += [packer.compress(bytes(MEBIBYTE)) for _ in range(mebibytes)]
    return b"".join((*parts, packer.flush()))


ANSWERS = {
    "an xz file": lambda: xz_of(600),
    "a sparse file": lambda: tar(sparse("x", 1 << 40)),
    "what leads out": lambda: tar(member("/etc/x", "1"), member("../x", "1"), member(".git/config", "1")),
    "a member of any size": lambda: tar()[:-1024] + header_of(1 << 50, b"0") + bytes(512),
    "a header of any size": lambda: tar()[:-1024] + header_of(1 << 50, b"x") + bytes(512),
    "links": lambda: tar(link("calc.py.bak", "/etc/passwd"), hard_link("y", "/etc/passwd")),
    "noise": lambda: tar()[:-1024] + os.urandom(4096),
}


@needs_containers
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_an_agents_own_tar_answers_is_read_as_far_as_it_is_plain_files(answer):
    content = answer()

    async def read():
        sandbox = make_container()
        try:
            await sandbox.start()
            await sandbox.write_file("/answer", content)
            await sandbox.run(
                "printf '#!/bin/sh\\ncat /answer\\n' > /usr/local/bin/tar; chmod +x /usr/local/bin/tar"
            )
            with at_most(100 * MEBIBYTE):
                return await read_workspace(sandbox, "/")
        finally:
            await sandbox.stop()

    found = asyncio.run(read())
    assert set(found) <= {"calc.py", "test_calc.py"}
    assert found.get("calc.py", CODE.encode()) == CODE.encode()


FLOODS = {
    "zeros": "cat /dev/zero",
    "a member without end": "cat /answer /dev/zero",
}


@needs_containers
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_an_agents_own_tar_that_never_ends_is_not_heard_out(flood):
    async def read():
        sandbox = make_container()
        try:
            await sandbox.start()
            await sandbox.write_file("/answer", header_of(1 << 40, b"0"))
            script = f"printf '#!/bin/sh\\n{flood}\\n' > /usr/local/bin/tar; chmod +x /usr/local/bin/tar"
            await sandbox.run(script)
            return await read_tree(sandbox, "/", timeout=2.0)
        finally:
            await sandbox.stop()

    assert asyncio.run(read()) is None


@needs_sandbox
def test_an_agents_archive_brings_no_settings_of_git_into_the_comparison():
    async def taken():
        sandbox = BubblewrapSandbox()
        try:
            await sandbox.start()
            await sandbox.write_file(f"{WORKSPACE}/calc.py", CODE.encode())
            laid = await sandbox.run(
                "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm one",
                working_directory=WORKSPACE,
            )
            assert laid.exit_code == 0, laid.output
            proof = Path("/tmp/proof")
            tree = tar(
                *repository_at(".git", proof.parent),
                link("way", ".git"),
                member("way/config", settings_of_git(proof.parent)),
                member("new.py", "x = 1\n"),
            )
            patch = await take_patch(tree, sandbox, WORKSPACE)
            seen = await sandbox.run(
                "ls /tmp/proof; git config --get-regexp filter", working_directory=WORKSPACE
            )
            return patch, seen.output
        finally:
            await sandbox.stop()

    patch, seen = asyncio.run(taken())
    assert b"+x = 1" in patch
    assert b"filter.x" not in seen
    assert b"No such file" in seen


def program_answering(command, *, but):
    """A shell command that puts a program in the place of another one, which goes on with all `but` some words."""
    return (
        f'printf \'#!/bin/sh\\ncase "$*" in {but}) cat /answer;; *) exec /usr/bin/{command} "$@";; esac\\n\' '
        f"> /usr/local/bin/{command}; chmod +x /usr/local/bin/{command}"
    )


IMAGES = {
    "git archive with git's settings": ("git", "*archive*"),
    "tar with git's settings": ("tar", "*-T*"),
    "a list of files": ("git", "*ls-files*"),
}


@needs_containers
@pytest.mark.parametrize(("program", "words"), IMAGES.values(), ids=IMAGES)
def test_what_an_image_answers_runs_nothing_here(program, words, prey, tmp_path):
    answer = tar(
        *repository_at(".git", prey),
        hard_link("x", str(prey / "secret")),
        member("shelf.py", "def take(items, count):\n    return items[:count - 1]\n"),
    )
    unpack = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))"
    setup = f"printf %s {answer.hex()} | python3 -c '{unpack}' > /answer\n"
    found = shelf_row(setup_script=setup + program_answering(program, but=words))
    write_rows(tmp_path / "tasks.jsonl", [found])
    chosen = ContainerSandboxSettings(container=settings())
    source = source_of(tmp_path / "tasks.jsonl", lambda row: make_row_sandbox(chosen.make, row))
    try:
        solution = source.solution(*source.tasks("holdout"))
    except TurnMixError:
        pass
    else:
        assert "SECRET" not in "".join(solution.base.values())
        assert not [path for path in (*solution.base, *solution.files) if path.startswith((".git/", "/"))]
    assert is_untouched(prey)


def adding(path, text):
    return f"new file mode 100644\n--- /dev/null\n+++ {path}\n@@ -0,0 +1 @@\n+{text}\n"


PATCHES = {
    "git's settings": (
        "diff --git a/.git/config b/.git/config\n--- a/.git/config\n+++ b/.git/config\n@@ -1 +1,3 @@\n [core]\n"
        '+[filter "x"]\n+\tclean = "id > PREY/proof"\n'
    ),
    "a file outside": "diff --git a/../x b/../x\n" + adding("b/../x", "1"),
    "an absolute file": "diff --git a/PREY/bashrc b/PREY/bashrc\n" + adding("/PREY/bashrc", "no longer"),
    "a link and a file behind it": (
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+PREY\n"
        "\\ No newline at end of file\ndiff --git a/l/bashrc b/l/bashrc\n" + adding("b/l/bashrc", "no longer")
    ),
}


@needs_sandbox
@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_a_patch_of_a_strangers_row_changes_nothing_here(patch, prey, tmp_path):
    text = patch.replace("PREY", str(prey))
    source = source_of(write_tar(tmp_path, tar(), gold_patch=text))
    with pytest.raises(UserError, match="gold_patch does not apply"):
        source.solution(*source.tasks("holdout"))
    asyncio.run(execute_tests(row(f"archives/{'0' * 64}.tar.gz"), tar(), text.encode(), BubblewrapSandbox()))
    assert is_untouched(prey)


def test_a_directory_is_packed_without_what_leads_out_or_never_ends(tmp_path, prey):
    tree = tmp_path / "tree"
    for name in (".git", "sub/.git"):
        (tree / name).mkdir(parents=True)
        (tree / name / "config").write_text(settings_of_git(prey))
    (tree / "a.py").write_text("a = 1\n")
    (tree / "out").symlink_to(prey / "secret")
    (tree / "in").symlink_to("a.py")
    os.mkfifo(tree / "pipe")
    with tarfile.open(fileobj=io.BytesIO(pack_tree(tree))) as packed:
        assert packed.getnames() == ["a.py", "in", "sub"]
