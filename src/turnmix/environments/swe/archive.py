"""A repository's tree as a tar archive that is named by its content. Equal trees give equal archives.

Enters: a directory. Leaves: `archives/<digest of the tar>.tar.gz` beside a task file, and its content again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

from turnmix.core.atomic_file import force_to_disk
from turnmix.core.errors import UserError


def pack_tree(directory: Path) -> bytes:
    """A tar archive of everything in `directory` but `.git`: sorted, without times and owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(directory.rglob("*")):
            if path.relative_to(directory).parts[0] == ".git":
                continue
            member = archive.gettarinfo(path, arcname=str(path.relative_to(directory)))
            if not (member.isreg() or member.isdir() or member.issym()):
                continue
            member.mtime = member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            if member.isreg():
                with path.open("rb") as file:
                    archive.addfile(member, file)
            else:
                archive.addfile(member)
    return buffer.getvalue()


def store_archive(task_file: Path, content: bytes) -> str:
    """Store a tar archive beside `task_file`, once. Returns what the row's `archive` says."""
    name = f"archives/{hashlib.sha256(content).hexdigest()}.tar.gz"
    path = task_file.parent / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_bytes(gzip.compress(content, mtime=0))
        force_to_disk(partial)
        partial.replace(path)
        force_to_disk(path.parent)
    return name


def load_archive(task_file: Path, name: str) -> bytes:
    """The tar archive that `store_archive` stored.

    Raises:
        UserError: it is gone, or is not what its name says.
    """
    path = task_file.parent / name
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"tasks.path: {path} cannot be read ({error}): copy it with the task file") from error
    if hashlib.sha256(content).hexdigest() != Path(name).name.partition(".")[0]:
        raise UserError(f"tasks.path: {path} is not what its name says: copy it with the task file again")
    return content
