"""`str_replace_editor` on the files of a real sandbox."""

import pytest
from scaffold_in_sandbox import any_sandbox, in_world  # noqa: F401 (any_sandbox: every test, in each kind)

PATH = "/testbed/a.py"
TEN = "".join(f"line {number}\n" for number in range(1, 11))


def numbered(first: int, last: int) -> str:
    return "\n".join(f"{number:6}\tline {number}" for number in range(first, last + 1))


def test_view_shows_numbered_lines():
    async def test(world):
        await world.sandbox.write_file(PATH, TEN.encode())
        assert await world.edit("view", PATH) == numbered(1, 10)
        assert await world.edit("view", PATH, view_range=[3, 5]) == numbered(3, 5)
        assert await world.edit("view", PATH, view_range="[9, -1]") == numbered(9, 10)
        assert await world.edit("view", PATH, view_range=[9, 99]) == numbered(9, 10)

    in_world(test)


@pytest.mark.parametrize("view_range", [[0, 3], [5, 2], [11, 12], [1], [1, 2, 3], [], [1, -5]])
def test_a_range_outside_the_file_is_refused(view_range):
    async def test(world):
        await world.sandbox.write_file(PATH, TEN.encode())
        observation = await world.edit("view", PATH, view_range=view_range)
        assert observation == "ERROR: Argument `view_range` must be [first, last], lines from 1 to 10."

    in_world(test)


def test_a_directory_is_listed_two_levels_deep():
    async def test(world):
        for path in ("a.py", "b/c.py", "b/d/e.py", "with space/x", ".hidden/y"):
            await world.sandbox.write_file(f"/testbed/{path}", b"")
        assert await world.edit("view", "/testbed/") == (
            "/testbed:\na.py\nb/\nb/c.py\nb/d/\nwith space/\nwith space/x"
        )
        assert await world.edit("view", "/testbed/b/d/e.py") == "[/testbed/b/d/e.py is empty]"

    in_world(test)


def test_create_makes_a_file_and_refuses_to_overwrite_one():
    async def test(world):
        path = "/testbed/new/deep/file.py"
        assert await world.edit("create", path, file_text="x = 1\n") == f"Created {path}."
        assert (await world.edit("create", path, file_text="x = 2\n")).startswith(f"ERROR: {path} exists")
        assert await world.sandbox.read_file(path) == b"x = 1\n"
        assert "file_text" in await world.edit("create", "/testbed/other")

    in_world(test)


def test_replacing_the_only_match_shows_four_lines_around_it():
    async def test(world):
        await world.sandbox.write_file(PATH, TEN.encode())
        observation = await world.edit("str_replace", PATH, old_str="line 6\n", new_str="six\nand a half\n")
        lines = [*range(2, 6), "six", "and a half", 7, 8, 9, 10]
        texts = [line if isinstance(line, str) else f"line {line}" for line in lines]
        snippet = "\n".join(f"{number:6}\t{text}" for number, text in enumerate(texts, start=2))
        assert observation == f"Edited {PATH}.\n{snippet}"
        expected = TEN.replace("line 6\n", "six\nand a half\n")
        assert await world.sandbox.read_file(PATH) == expected.encode()

    in_world(test)


def test_replacing_by_nothing_deletes():
    async def test(world):
        await world.sandbox.write_file(PATH, b"ab\n")
        assert (await world.edit("str_replace", PATH, old_str="ab\n")).startswith("Edited")
        assert await world.sandbox.read_file(PATH) == b""

    in_world(test)


def test_a_replacement_needs_exactly_one_match():
    async def test(world):
        await world.sandbox.write_file(PATH, b"x = 1\ny\nx = 1\n")
        several = await world.edit("str_replace", PATH, old_str="x = 1", new_str="x = 2")
        assert several.startswith(f"ERROR: `old_str` occurs 2 times in {PATH}, at lines 1, 3.")
        assert "was not found" in await world.edit("str_replace", PATH, old_str="z", new_str="x")
        assert "are the same" in await world.edit("str_replace", PATH, old_str="y", new_str="y")
        assert "non-empty" in await world.edit("str_replace", PATH, old_str="", new_str="y")
        assert await world.sandbox.read_file(PATH) == b"x = 1\ny\nx = 1\n"

    in_world(test)


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        (b"a\nb\n", 0, b"new\na\nb\n"),
        (b"a\nb\n", 1, b"a\nnew\nb\n"),
        (b"a\nb\n", "2", b"a\nb\nnew\n"),
        (b"a\nb", 2, b"a\nb\nnew\n"),
        (b"", 0, b"new\n"),
        (b"a\r\nb\r\n", 1, b"a\r\nnew\r\nb\r\n"),
        (b"a\r\n\nb\r\n", 2, b"a\r\n\nnew\nb\r\n"),
        (b"a\r\nb\n", 0, b"new\r\na\r\nb\n"),
        (b"a\r\nb", 2, b"a\r\nb\r\nnew\r\n"),
    ],
)
def test_insert_puts_whole_lines_after_a_line(before, line, after):
    async def test(world):
        await world.sandbox.write_file(PATH, before)
        observation = await world.edit("insert", PATH, insert_line=line, new_str="new")
        assert observation.startswith("Edited")
        assert await world.sandbox.read_file(PATH) == after

    in_world(test)


def test_insert_refuses_a_line_that_is_not_there():
    async def test(world):
        await world.sandbox.write_file(PATH, b"a\n")
        observation = await world.edit("insert", PATH, insert_line=2, new_str="new")
        assert observation == "ERROR: Argument `insert_line` must be between 0 and 1, not 2."
        assert "`insert_line` and `new_str`" in await world.edit("insert", PATH)

    in_world(test)


def test_undo_goes_back_edit_by_edit_and_file_by_file():
    async def test(world):
        other = "/testbed/b.py"
        for path in (PATH, other):
            await world.sandbox.write_file(path, b"1")
        await world.edit("str_replace", PATH, old_str="1", new_str="2")
        await world.edit("str_replace", PATH, old_str="2", new_str="3")
        await world.edit("str_replace", other, old_str="1", new_str="9")
        await world.edit("undo_edit", PATH)
        assert await world.sandbox.read_file(PATH) == b"2"
        await world.edit("undo_edit", PATH)
        assert await world.sandbox.read_file(PATH) == b"1"
        assert await world.sandbox.read_file(other) == b"9"
        assert (await world.edit("undo_edit", PATH)).startswith("ERROR: There is no edit")

    in_world(test)


def test_bytes_of_an_unknown_encoding_survive_an_edit_and_none_is_added_to_them():
    async def test(world):
        content = "Привет old\n".encode("cp1251")
        await world.sandbox.write_file(PATH, content)
        assert "no encoding is declared" in await world.edit("view", PATH)
        observation = await world.edit("str_replace", PATH, old_str="old", new_str="new")
        assert "\ufffd" in observation
        content = content.replace(b"old", b"new")
        assert await world.sandbox.read_file(PATH) == content
        for old, new in (("new", "нов"), ("Привет", "x"), ("\ufffd", "x")):
            refusal = await world.edit("str_replace", PATH, old_str=old, new_str=new)
            assert refusal.startswith("ERROR: The file is not UTF-8 and does not declare its encoding")
        refusal = await world.edit("insert", PATH, insert_line=0, new_str="é")
        assert refusal.startswith("ERROR: The file is not UTF-8")
        assert await world.sandbox.read_file(PATH) == content

    in_world(test)


@pytest.mark.parametrize(
    ("encoding", "mark", "first_line"),
    [
        ("utf-8", b"\xef\xbb\xbf", ""),
        ("utf-16-le", b"\xff\xfe", ""),
        ("utf-16-be", b"\xfe\xff", ""),
        ("utf-32-le", b"\xff\xfe\0\0", ""),
        ("latin-1", b"", "# -*- coding: latin-1 -*-"),
        ("cp1251", b"", "#!/bin/sh\n# vim: set fileencoding=cp1251 :"),
        ("shift-jis", b"", "// -*- coding: shift_jis -*-"),
        ("iso8859-2", b"", '<?xml version="1.0" encoding="ISO-8859-2"?>'),
        ("utf-8", b"", "# coding: latin-999"),
    ],
)
def test_a_file_is_edited_in_its_own_encoding(encoding, mark, first_line):
    word, other = {"cp1251": ("Имя", "Ещё"), "shift-jis": ("名前", "別")}.get(encoding, ("Zoé", "Ö"))
    if encoding == "iso8859-2":
        word = "Zoł"

    def content(*lines):
        return mark + "".join(f"{line}\n" for line in (*first_line.split("\n"), *lines)).encode(encoding)

    async def test(world):
        await world.sandbox.write_file(PATH, content(word, "end"))
        assert f"\t{word}\n" in await world.edit("view", PATH)
        first = len(first_line.split("\n"))
        await world.edit("str_replace", PATH, old_str=f"{word}\n", new_str=f"{other}\n")
        await world.edit("insert", PATH, insert_line=first, new_str=word)
        assert await world.sandbox.read_file(PATH) == content(word, other, "end")
        await world.edit("insert", PATH, insert_line=0, new_str="first")
        assert (await world.sandbox.read_file(PATH)).startswith(mark + "first\n".encode(encoding))

    in_world(test)


def test_a_character_that_a_files_encoding_lacks_is_refused():
    async def test(world):
        content = "# coding: latin-1\nx = 'é'\n".encode("latin-1")
        await world.sandbox.write_file(PATH, content)
        refusal = await world.edit("insert", PATH, insert_line=2, new_str="y = '€'")
        assert refusal.startswith("ERROR: The file is in the encoding iso8859-1, which has no '€'")
        assert await world.sandbox.read_file(PATH) == content
        assert "has no 'é'" in await world.edit("create", "/testbed/b", file_text="# coding: ascii\né")
        assert "No such file" in await world.edit("view", "/testbed/b")

    in_world(test)


def test_a_file_takes_on_the_encoding_that_an_edit_or_its_creation_declares():
    async def test(world):
        await world.edit("create", PATH, file_text="# coding: latin-1\nprint(len('é'))\n")
        assert await world.sandbox.read_file(PATH) == b"# coding: latin-1\nprint(len('\xe9'))\n"
        await world.edit("str_replace", PATH, old_str="latin-1", new_str="utf-8")
        assert await world.sandbox.read_file(PATH) == b"# coding: utf-8\nprint(len('\xc3\xa9'))\n"
        await world.edit("undo_edit", PATH)
        assert await world.sandbox.read_file(PATH) == b"# coding: latin-1\nprint(len('\xe9'))\n"

    in_world(test)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x1f\x8b\x08\x02\xff\xf7", b"\xff\xfe\x00 odd"]
)
def test_a_binary_file_is_neither_shown_nor_edited(content):
    async def test(world):
        await world.sandbox.write_file(PATH, content)
        for command in ("view", "str_replace", "insert"):
            refusal = await world.edit(command, PATH, old_str="P", new_str="Q", insert_line=0)
            assert refusal.startswith(f"ERROR: The file is binary ({len(content)} bytes)")
        assert await world.sandbox.read_file(PATH) == content

    in_world(test)


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"i\na\r\nb\r\nc\n", "a\nb", "x\ny\nz", b"i\nx\r\ny\r\nz\r\nc\n"),
        (b"i\na\r\nb\r\nc\n", "i\na\nb\nc\n", "j\nx\ny\nd\n", b"j\nx\r\ny\r\nd\n"),
        (b"i\na\r\nb\n", "a", "x\ny", b"i\nx\r\ny\r\nb\n"),
        (b"a\r\nb\n", "b\n", "x\ny\n", b"a\r\nx\ny\n"),
        (b"a\r\nb\nc", "c", "x\ny", b"a\r\nb\nx\ny"),
        (b"a\r\r\nb\n", "a\nb", "x\nb", b"x\r\r\nb\n"),
        (b"a\nb\r\n", "a\nb\r\n", "a\nb\n", b"a\nb\n"),
        (b"a\r\nb\r\n", "a\nb\n", "", b""),
        (b"a\rb\rc\r", "a\nb\n", "x\ny\r\nz\n", b"x\ry\rz\rc\r"),
        ("\ufeffa\rb".encode("utf-16-le"), "b", "c\nd", "\ufeffa\rc\rd".encode("utf-16-le")),
    ],
)
def test_text_as_view_shows_it_is_found_whatever_the_line_ends(before, old, new, after):
    async def test(world):
        await world.sandbox.write_file(PATH, before)
        observation = await world.edit("str_replace", PATH, old_str=old, new_str=new)
        assert observation.startswith("Edited")
        assert await world.sandbox.read_file(PATH) == after

    in_world(test)


def test_an_agent_that_sees_no_carriage_returns_can_edit_a_file_that_has_them():
    async def test(world):
        await world.sandbox.write_file(PATH, b"a\r\nb\r\nc\r\n")
        assert "\r" not in await world.edit("str_replace", PATH, old_str="a\nb", new_str="x\ny")
        assert await world.sandbox.read_file(PATH) == b"x\r\ny\r\nc\r\n"

    in_world(test)


def test_an_edited_script_stays_executable():
    async def test(world):
        await world.bash("echo 'exit 4' > run.sh; chmod +x run.sh")
        await world.edit("str_replace", "/testbed/run.sh", old_str="4", new_str="5")
        assert "exit code 5]" in await world.bash("./run.sh")

    in_world(test)


def test_a_long_view_is_cut_at_its_end():
    async def test(world):
        await world.sandbox.write_file(PATH, b"x" * 100 + b"\n" * 30_000)
        observation = await world.edit("view", PATH)
        assert observation.endswith("\n[Cut at 16000 characters: use view_range.]")
        assert len(observation) < 16_100

    in_world(test)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("a.py", "ERROR: Argument `path` must be absolute. Did you mean '/testbed/a.py'?"),
        ("/testbed/none", "ERROR: No such file or directory: /testbed/none"),
        ("/testbed/a\0b", "ERROR: Argument `path` must not contain a NUL character."),
        ("/testbed/\ud800", "ERROR: No such file or directory: /testbed/\ufffd"),
        ("/dev/zero", "ERROR: "),
        ("/testbed/" + "x" * 5000, "ERROR: File name too long"),
    ],
)
def test_a_path_that_cannot_be_read_is_told(path, complaint):
    async def test(world):
        assert (await world.edit("view", path)).startswith(complaint)

    in_world(test)


@pytest.mark.parametrize("command", ["str_replace", "insert", "create"])
def test_a_directory_or_a_read_only_file_cannot_be_edited(command):
    async def test(world):
        arguments = {"old_str": "a", "new_str": "b", "insert_line": 0, "file_text": "c"}
        assert (await world.edit(command, "/testbed", **arguments)).startswith("ERROR: ")
        assert (await world.edit(command, "/proc/version", **arguments)).startswith("ERROR: ")

    in_world(test)
