"""A sandbox whose disk is full: what was there stays."""

import pytest
from scaffold_in_sandbox import in_world, needs_sandbox

from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.sandbox import Limits

pytestmark = needs_sandbox
PATH = "/testbed/keep.py"
BEFORE = b"important = 1\n" * 1000
FILL = "cat /dev/zero >/tmp/fill; cat /dev/zero >/dev/shm/fill; true"


async def state(world):
    return (await world.sandbox.run("find /testbed -printf '%p %M %n %l\\n' | sort")).output


@pytest.mark.parametrize("names", [1, 2])
def test_a_file_whose_new_content_has_no_room_stays_what_it_was(names):
    async def test(world):
        await world.sandbox.write_file(PATH, BEFORE)
        if names == 2:
            await world.sandbox.run(f"ln {PATH} /testbed/other")
        before = await state(world)
        await world.sandbox.run(FILL)
        for path in (PATH, "/testbed/new/directory/file"):
            with pytest.raises(OSError, match="No space left on device"):
                await world.sandbox.write_file(path, BEFORE * 2)
        assert await world.sandbox.read_file(PATH) == BEFORE
        assert await state(world) == before
        # What takes no more room than the old content has a place where it is.
        await world.sandbox.write_file(PATH, b"small")
        assert await world.sandbox.read_file(PATH) == b"small"

    in_world(test, sandbox=BubblewrapSandbox(Limits(disk_bytes=16 << 20)))


def test_an_edit_for_which_there_is_no_room_leaves_the_file_and_what_can_be_undone():
    async def test(world):
        await world.sandbox.write_file(PATH, BEFORE)
        await world.edit("insert", PATH, insert_line=0, new_str="first = 1")
        await world.sandbox.run(FILL)
        answer = await world.edit("insert", PATH, insert_line=0, new_str="x = 2\n" * 5000)
        assert answer == f"ERROR: No space left on device: {PATH}. Nothing was written."
        assert await world.sandbox.read_file(PATH) == b"first = 1\n" + BEFORE
        assert "No space" in await world.edit("create", "/testbed/n.py", file_text="x\n" * 5000)
        assert (await world.edit("view", "/testbed/n.py")).startswith("ERROR: No such file")
        await world.sandbox.run("rm /tmp/fill")
        assert (await world.edit("create", "/testbed/n.py", file_text="x\n")).startswith("Created")
        await world.edit("undo_edit", PATH)
        assert await world.sandbox.read_file(PATH) == BEFORE

    in_world(test, sandbox=BubblewrapSandbox(Limits(disk_bytes=16 << 20)))
