"""Writing a file is all or nothing, in each kind of sandbox."""

import pytest
from scaffold_in_sandbox import any_sandbox, in_world  # noqa: F401 (any_sandbox: every test, in each kind)

from turnmix.sandboxes.sandbox import Limits

PATH = "/testbed/keep.py"
BEFORE = b"important = 1\n" * 1000
FILE_LIMIT = 200_000


async def state(world):
    """Names, modes and links below the workspace."""
    return (
        await world.sandbox.run("find . -printf '%p %M %n %l\\n' | sort", working_directory="/testbed")
    ).output


def test_a_file_that_would_be_over_the_limit_stays_what_it_was():
    async def test(world):
        await world.sandbox.write_file(PATH, BEFORE)
        before = await state(world)
        for path in (PATH, "/testbed/new", "/testbed/new/directory/file"):
            with pytest.raises(OSError, match="File too large"):
                await world.sandbox.write_file(path, b"x" * (FILE_LIMIT + 1))
        assert await world.sandbox.read_file(PATH) == BEFORE
        assert await state(world) == before

    in_world(test, limits=Limits(file_bytes=FILE_LIMIT))


@pytest.mark.parametrize("kind", ["plain", "several names", "link", "executable"])
def test_a_written_file_keeps_its_mode_its_names_and_its_links(kind):
    made = {
        "plain": "",
        "several names": "ln keep.py other",
        "link": "mkdir -p d; mv keep.py d/real; ln -s d/real keep.py",
        "executable": "chmod 751 keep.py",
    }[kind]

    async def test(world):
        await world.sandbox.write_file(PATH, BEFORE)
        await world.sandbox.run(made, working_directory="/testbed")
        before = await state(world)
        for content in (b"short", BEFORE * 20, b""):
            await world.sandbox.write_file(PATH, content)
            assert await world.sandbox.read_file(PATH) == content
            assert await state(world) == before
        if kind == "several names":
            assert await world.sandbox.read_file("/testbed/other") == b""

    in_world(test)


def test_a_file_whose_directory_takes_no_other_file_is_written():
    async def test(world):
        await world.sandbox.write_file("/testbed/d/f", b"old")
        await world.sandbox.run("chmod a-w /testbed/d")
        await world.sandbox.write_file("/testbed/d/f", b"new")
        assert await world.sandbox.read_file("/testbed/d/f") == b"new"

    in_world(test)


def test_a_read_only_file_is_not_written_by_an_ordinary_user():
    async def test(world):
        await world.sandbox.write_file(PATH, b"old")
        await world.sandbox.run(f"chmod a-w {PATH}")
        if (await world.sandbox.run("id -u")).output == b"0\n":
            return
        with pytest.raises(PermissionError):
            await world.sandbox.write_file(PATH, b"new")
        assert await world.sandbox.read_file(PATH) == b"old"

    in_world(test)


def test_an_edit_over_the_limit_of_one_file_says_so_and_leaves_the_file():
    async def test(world):
        await world.sandbox.write_file(PATH, BEFORE)
        answer = await world.edit("insert", PATH, insert_line=0, new_str="x = 2\n" * 100_000)
        assert answer == f"ERROR: The file would be too large: {PATH}. Nothing was written."
        assert await world.sandbox.read_file(PATH) == BEFORE

    in_world(test, limits=Limits(file_bytes=FILE_LIMIT))
