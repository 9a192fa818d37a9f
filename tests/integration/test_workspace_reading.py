"""A workspace is read whole, in each kind of sandbox, whatever an agent has left in it."""

import pytest
from scaffold_in_sandbox import WORKSPACE, any_sandbox, in_world  # noqa: F401 (any_sandbox: every test, in each kind)

from turnmix.environments.workspace import read_workspace

DEBRIS = """
mkdir -p a/b .git/objects a/__pycache__ 'no entry' ../out
echo one > one.py; echo two > a/b/two.py; : > empty; printf '\\377' > "$(printf 'odd\\nname \\377')"
echo x > .git/config; echo x > a/__pycache__/one.pyc; echo x > 'no entry/x'; echo x > 'not readable'; echo x > ../out/x
ln -s /etc/passwd file; ln -s ../out directory; ln -s . loop; ln -s nothing broken; mkfifo pipe
chmod 000 'no entry' 'not readable'
"""


async def run(sandbox, script):
    result = await sandbox.run(script, working_directory=WORKSPACE)
    assert result.exit_code == 0, result.output


def read(test):
    found = []

    async def in_it(world):
        found.append(await test(world.sandbox))

    in_world(in_it)
    return found[0]


def test_all_regular_files_are_read_and_no_link_is_followed():
    async def test(sandbox):
        await run(sandbox, DEBRIS)
        return await read_workspace(sandbox, WORKSPACE)

    files = read(test)
    files.pop("no entry/x", None)  # root of a container reads everything
    files.pop("not readable", None)
    assert files == {
        "one.py": b"one\n",
        "a/b/two.py": b"two\n",
        "empty": b"",
        "odd\nname \udcff": b"\xff",
    }


@pytest.mark.parametrize("directory", ["/testbed/gone", "/etc/passwd"])
def test_of_a_directory_that_is_none_there_are_no_files(directory):
    async def test(sandbox):
        return await read_workspace(sandbox, directory)

    assert read(test) == {}


def test_what_is_asked_for_first_is_read_where_not_all_fits():
    async def test(sandbox):
        await run(sandbox, "mkdir -p m z; echo last > z/z.py; for i in $(seq 200); do echo $i > m/$i; done")
        return await read_workspace(sandbox, WORKSPACE, limit=40_000, first=["z/z.py", "not/there"])

    files = read(test)
    assert files["z/z.py"] == b"last\n"
    assert 10 < len(files) < 100
