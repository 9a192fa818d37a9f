"""Task files whose archives a stranger made, for tests: any member, any bytes in the archive's place."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.environments.repositories.task_file import TaskRow, write_rows
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

CODE = "def add(a, b):\n    return a - b\n"
TESTS = "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
GOLD = (
    "diff --git a/calc.py b/calc.py\n--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n"
    "-    return a - b\n+    return a + b\n"
)
ZEROS = bytes(1 << 20)


def member(name: str, content: str | bytes = b"", **fields: object) -> bytes:
    """One member. `fields`: of its header, such as `type`, `linkname`, or a `size` that is not its own."""
    data = content.encode() if isinstance(content, str) else content
    header = tarfile.TarInfo(name)
    header.size = len(data)
    for field, value in fields.items():
        setattr(header, field, value)
    return header.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape") + data + bytes(-len(data) % 512)


def directory(name: str) -> bytes:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def link(name: str, target: str) -> bytes:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> bytes:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def sparse(name: str, apparent_size: int) -> bytes:
    """A file of one byte that says it is far larger."""
    told = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
            "GNU.sparse.realsize": str(apparent_size)}  # fmt: skip
    header = tarfile.TarInfo(name)
    header.size = 1024
    header.pax_headers = told
    where = f"1\n{apparent_size - 1}\n1\n".encode()
    return header.tobuf(tarfile.PAX_FORMAT) + where.ljust(512, b"\0") + b"x".ljust(512, b"\0")


def tar(*members: bytes) -> bytes:
    return b"".join((member("calc.py", CODE), member("test_calc.py", TESTS), *members)) + bytes(1024)


def row(name: str, **changes: object) -> TaskRow:
    fields = {
        "instance_id": "strange-1",
        "source": "injection",
        "repository": "owner/name",
        "archive": name,
        "problem_statement": "add is wrong",
        "gold_patch": GOLD,
        "test_files": ["test_calc.py"],
        "fail_to_pass": ["test_calc.py::test_add"],
        "test_command": "python3 -m pytest -q",
        "evaluation_script": "true",
        "timeout_seconds": 30,
    }
    return TaskRow.model_validate({**fields, **changes})


def write_archive(folder: Path, compressed: bytes, digest: str, **changes: object) -> Path:
    """A task file of one row whose archive holds `compressed` and is named by `digest`."""
    (folder / "archives").mkdir(parents=True, exist_ok=True)
    name = f"archives/{digest}.tar.gz"
    (folder / name).write_bytes(compressed)
    write_rows(folder / "tasks.jsonl", [row(name, **changes)])
    return folder / "tasks.jsonl"


def write_tar(folder: Path, content: bytes, **changes: object) -> Path:
    """As `write_archive`, well packed and rightly named."""
    return write_archive(
        folder, gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest(), **changes
    )


def zeros_behind(head: bytes, mebibytes: int) -> bytes:
    """A small gzip file: `head`, and so many MiB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(ZEROS) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(head)
    for _ in range(mebibytes):
        checksum = zlib.crc32(ZEROS, checksum)
    length = (len(head) + (mebibytes << 20)) % (1 << 32)
    end = packer.flush(zlib.Z_FINISH) + checksum.to_bytes(4, "little") + length.to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + block * mebibytes + end


def source_of(
    path: Path,
    make_sandbox: Callable[[TaskRow], Sandbox] = partial(make_row_sandbox, BubblewrapSettings().make),  # noqa: B008
) -> TaskFileSource:
    return TaskFileSource(
        TaskFileSettings(path=path, holdout="all"), make_sandbox=make_sandbox, scaffold=ScaffoldSettings()
    )


def pax_header(content: bytes) -> bytes:
    return member("header", content, type=b"x")


def header_of(size: int, kind: bytes) -> bytes:
    """A header alone, which promises so many bytes."""
    return member("x", type=kind, size=size)[:512]


def settings_of_git(prey: Path) -> str:
    program = f"id > {prey}/proof; cat"
    return (
        f'[core]\n\tfsmonitor = "{program}"\n\thooksPath = {prey}\n'
        f'[filter "x"]\n\tclean = "{program}"\n\tsmudge = "{program}"\n\trequired = true\n'
    )


def repository_at(name: str, prey: Path) -> tuple[bytes, ...]:
    head = member(f"{name}/HEAD", "ref: refs/heads/main\n")
    parts = (directory(name), head, directory(f"{name}/objects"), directory(f"{name}/refs"))
    return (*parts, member(f"{name}/config", settings_of_git(prey)), member(".gitattributes", "* filter=x\n"))


def make_prey(folder: Path) -> Path:
    """A directory of the user's: a file that must stay as it is, and a secret; what runs may write `proof` there."""
    prey = folder / "own"
    prey.mkdir()
    (prey / "bashrc").write_text("own\n")
    (prey / "secret").write_text("SECRET-KEY\n")
    return prey


def is_untouched(prey: Path) -> bool:
    return sorted(os.listdir(prey)) == ["bashrc", "secret"] and (prey / "bashrc").read_text() == "own\n"


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fails where this process holds so many bytes more at any moment inside."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _most_held()
    yield
    grown = _most_held() - before
    assert grown < size, f"{grown >> 20} MiB"


def _most_held() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10
