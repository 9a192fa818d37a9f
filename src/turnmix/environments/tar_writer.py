"""A tar archive made of members that were read, or of our own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

from turnmix.environments.tar_members import BLOCK, Member


def pack_members(members: Iterable[Member]) -> bytes:
    """A tar archive of files, directories and symbolic links: without times and owners. Equal members give equal
    archives."""
    buffer = io.BytesIO()
    for member in members:
        header = tarfile.TarInfo(member.path)
        header.mode = 0o755 if member.is_executable or member.kind != "file" else 0o644
        if member.kind == "directory":
            header.type = tarfile.DIRTYPE
        elif member.kind == "symbolic link":
            header.type, header.linkname = tarfile.SYMTYPE, member.target
        header.size = len(member.content)
        buffer.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        buffer.write(member.content)
        buffer.write(bytes(-len(member.content) % BLOCK))
    buffer.write(bytes(2 * BLOCK))
    buffer.write(bytes(-buffer.tell() % tarfile.RECORDSIZE))
    return buffer.getvalue()
