"""What a stranger's archive, image, repository or workspace may try on the machine that reads it. None of it works."""

import asyncio
import hashlib
import lzma
import os
import tarfile

import pytest
from hostile_archives import (
    CODE,
    at_most,
    directory,
    hard_link,
    header_of,
    is_untouched,
    link,
    make_prey,
    member,
    pax_header,
    repository_at,
    source_of,
    sparse,
    tar,
    write_archive,
    write_tar,
    zeros_behind,
)
from scaffold_in_sandbox import needs_sandbox

from turnmix.core.errors import UserError
from turnmix.environments.repositories import source as task_files
from turnmix.environments.repositories.archive.files import load_archive
from turnmix.policies.scripted import call_action
from warm_python import run_turnmix

MEBIBYTE = 1 << 20


@pytest.fixture
def prey(tmp_path):
    return make_prey(tmp_path)


def chain_of_links(prey):
    """Links that are each too long to be resolved by older Pythons, and a file by way of them."""
    long = "d" * 247
    steps, way = [], ""
    for letter in "abcdefghijklmnop":
        steps += [directory(f"{way}{long}"), link(f"{way}{letter}", long)]
        way += f"{letter}/"
    outside = "../" * 16 + str(prey).lstrip("/")
    return (*steps, link(f"{way}{'l' * 254}", "../" * 16), link("escape", f"{way}{'l' * 254}/{outside}"),
            member("escape/bashrc", "no longer\n"))  # fmt: skip


TREES = {
    "git's settings with a filter": lambda prey: repository_at(".git", prey),
    "git's settings in capital letters": lambda prey: repository_at(".GIT", prey),
    "git's settings with an invisible letter": lambda prey: repository_at(".g\u200cit", prey),
    "git's settings below a directory": lambda prey: repository_at("docs/.git", prey),
    "git's settings behind a dot": lambda prey: repository_at("./.git", prey),
    "a file that leads to git's settings": lambda prey: (member(".git", f"gitdir: {prey}\n"),),
    "a hard link and a file of its name": lambda prey: (
        hard_link("x", str(prey / "bashrc")),
        member("x", "no longer\n"),
    ),
    "a hard link to a secret": lambda prey: (hard_link("x", str(prey / "secret")),),
    "a link to a secret": lambda prey: (link("x", str(prey / "secret")),),
    "a link upwards": lambda prey: (link("x", "../../etc/passwd"),),
    "a file below a link": lambda prey: (link("x", str(prey)), member("x/bashrc", "no longer\n")),
    "a file below a link to a directory": lambda prey: (
        directory("d"),
        link("x", "d"),
        member("x/y", "1\n"),
    ),
    "a link below a link": lambda prey: (link("a", "."), link("a/b", ".."), member("a/b/x", "1\n")),
    "a link by way of another": lambda prey: (link("d/a", ".."), link("x", "d/a/../..")),
    "a chain of long links": chain_of_links,
    "an absolute name": lambda prey: (member(f"{prey}/bashrc", "no longer\n"),),
    "a name that leads upwards": lambda prey: (member("../../x", "1\n"),),
    "a name that leads upwards later": lambda prey: (member("d/../../x", "1\n"),),
    "a file and a directory of one name": lambda prey: (member("x", "1\n"), member("x/y", "1\n")),
    "one name twice": lambda prey: (member("x", "1\n"), member("x", "2\n")),
    "a device": lambda prey: (member("x", type=tarfile.CHRTYPE, devmajor=1, devminor=5),),
    "a disk": lambda prey: (member("x", type=tarfile.BLKTYPE, devmajor=8, devminor=0),),
    "a pipe": lambda prey: (member("x", type=tarfile.FIFOTYPE),),
    "a kind that nobody knows": lambda prey: (member("x", type=b"Z"),),
    "a sparse file": lambda prey: (sparse("x", 1 << 40),),
    "a sparse file as GNU has it": lambda prey: (member("x", type=tarfile.GNUTYPE_SPARSE),),
    "two sizes of one member": lambda prey: (
        pax_header(b"12 size=9000\n"),
        member("x", b"y" * 512),
    ),
    "a name for all members": lambda prey: (member("g", b"13 path=../x\n", type=b"g"), member("x", "1\n")),
    "a name by a header that leads upwards": lambda prey: (pax_header(b"13 path=../x\n"), member("x", "1\n")),
    "a name with a zero byte": lambda prey: (pax_header(b"12 path=a\0b\n"), member("x", "1\n")),
    "a name that no file can have": lambda prey: (member("x" * 300, "1\n"),),
    "directories above each member": lambda prey: tuple(
        member(f"{number}/" + "d/" * 60 + "x", "1\n") for number in range(2000)
    ),
    "directories without end": lambda prey: (member("d/" * 3000 + "x", "1\n"),),
    "too many members": lambda prey: (member("x", "1\n") * 110_000,),
}


@needs_sandbox
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_an_archive_is_refused_in_one_line_that_holds(tree, prey, tmp_path):
    path = write_tar(tmp_path, tar(*tree(prey)))
    with pytest.raises(UserError, match=r"^tasks\.path: .*\.tar\.gz") as refused:
        source_of(path)
    assert "\n" not in str(refused.value)
    assert is_untouched(prey)


@needs_sandbox
def test_an_archive_that_was_changed_after_the_start_is_refused_where_it_is_needed(
    prey, tmp_path, monkeypatch
):
    monkeypatch.setattr(task_files, "READ_FIRST", 0)
    source = source_of(write_tar(tmp_path, tar(*repository_at(".git", prey))))
    (task,) = source.tasks("holdout")
    with pytest.raises(UserError, match=r"^tasks\.path: "):
        source.solution(task)
    with pytest.raises(UserError, match=r"^tasks\.path: "):
        asyncio.run(source.environment(task).reset())
    assert is_untouched(prey)


@needs_sandbox
def test_links_that_stay_in_the_tree_are_laid_and_no_attribute_changes_what_the_oracle_reads(prey, tmp_path):
    attributes = "* filter=x ident working-tree-encoding=x\ncalc.py export-subst eol=lf\n"
    content = tar(
        member(".gitattributes", attributes.replace(" working-tree-encoding=x", "")),
        member("note", "$Id$ $Format:%H$\n"),
        link("d/to", "../calc.py"),
        link("also", "d/to"),
    )
    source = source_of(write_tar(tmp_path, content))
    (task,) = source.tasks("holdout")
    solution = source.solution(task)
    assert solution.files == {"calc.py": CODE.replace("a - b", "a + b")}
    assert solution.base["note"] == "$Id$ $Format:%H$\n"
    assert set(solution.base) == {".gitattributes", "calc.py", "note", "test_calc.py"}

    async def looked():
        environment = source.environment(task)
        try:
            await environment.reset()
            step = await environment.step(call_action("execute_bash", command="cat also; git status --short"))
            return step.observation[0].content
        finally:
            await environment.close()

    assert asyncio.run(looked()).startswith(CODE)


DAMAGED = {
    "nothing": b"",
    "text": b"hello",
    "cut short": None,
    "xz": lzma.compress(tar()),
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("compressed", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_ends_the_command_in_one_line_with_its_name(compressed, tmp_path):
    path = write_tar(tmp_path, tar())
    archive = next((tmp_path / "archives").iterdir())
    archive.write_bytes(archive.read_bytes()[:-12] if compressed is None else compressed)
    (tmp_path / "predictions.jsonl").write_text('{"instance_id": "strange-1", "model_patch": "x"}\n')
    ended = run_turnmix("grade", str(tmp_path / "predictions.jsonl"), str(path), cwd=tmp_path)
    assert ended.returncode == 2, ended
    said = ended.stderr.strip().splitlines()
    assert len(said) == 1
    assert archive.name in said[0]


GIBIBYTE = 1 << 30
BOMBS = {
    "zeros": b"",
    "zeros behind an archive": tar(),
    "one member": header_of(GIBIBYTE, b"0"),
    "one member of any size": header_of(1 << 50, b"0"),
    "a header before a member": header_of(GIBIBYTE, b"x"),
    "a long name": header_of(GIBIBYTE, b"L"),
    "a long target": header_of(GIBIBYTE, b"K"),
    "a header of all members": header_of(GIBIBYTE, b"g"),
    "content of a link": header_of(GIBIBYTE, b"2"),
    "content of a device": header_of(GIBIBYTE, b"3"),
    "a size by a header": pax_header(b"19 size=1073741824\n") + header_of(0, b"0"),
    "members one after the other": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_unpacks_without_end_takes_no_memory(name, tmp_path):
    head = BOMBS[name]
    compressed = zeros_behind(head, 1024)
    digest = hashlib.sha256(head).hexdigest()  # not that of the whole: which is read before it is known
    path = write_archive(tmp_path, compressed, digest)
    with at_most(64 * MEBIBYTE), pytest.raises(UserError, match=r"\.tar\.gz"):
        load_archive(path, f"archives/{digest}.tar.gz")


def test_an_archive_that_is_no_file_is_not_waited_for(tmp_path):
    path = write_tar(tmp_path, tar())
    (archive,) = (tmp_path / "archives").iterdir()
    for replace in (lambda: os.mkfifo(archive), lambda: archive.symlink_to("/dev/zero"), archive.mkdir):
        archive.unlink() if not archive.is_dir() else archive.rmdir()
        replace()
        with pytest.raises(UserError, match=r"archive: .* is not there"):
            source_of(path)
        with pytest.raises(UserError, match=r"\.tar\.gz"):
            load_archive(path, f"archives/{archive.name}")
