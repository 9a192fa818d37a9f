"""The members of a tar archive that a stranger wrote, read within limits.

In: bytes, from a file or out of a sandbox. Out: members whose names stay inside the tree and are none of
git's own, or what is wrong. Nothing is written anywhere, nothing is decompressed, no member's size is believed
before it is compared with the limits. Python's `tarfile` reads a header of any size whole, unpacks what looks
compressed, and makes a sparse file as large as it says it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

BLOCK = 512
LONGEST_HEADER = 64 << 10
"""Bytes of a header that extends another one."""
LONGEST_NAMES = 64 << 20
"""Of all members and the directories above them, together."""
LONGEST_PADDING = 1 << 20
"""Zero bytes behind the end."""

Kind = Literal["file", "directory", "symbolic link", "hard link", "device", "pipe", "unknown"]
KINDS: dict[bytes, Kind] = {
    b"\0": "file",
    b"0": "file",
    b"7": "file",
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "device",
    b"4": "device",
    b"5": "directory",
    b"6": "pipe",
}
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_IGNORABLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_SHORT_NAME = re.compile(r"git~\d+")


class MalformedArchive(ValueError):
    """It is no tar archive, is cut short, or holds what must not be in a tree."""


class ByteStream(Protocol):
    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """What a tree may hold."""

    total_bytes: int = 256 << 20
    """Of the archive, uncompressed."""
    file_bytes: int = 128 << 20
    members: int = 100_000
    name_bytes: int = 1024
    """Of a member's whole name."""
    depth: int = 64
    """Directories above one another."""


TREE_LIMITS = TreeLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of a tree."""

    path: str
    """As the archive names it, until `inside` has read it. Bytes that are no UTF-8 are half surrogate pairs."""
    kind: Kind
    is_executable: bool = False
    content: bytes = b""
    """Of a file."""
    target: str = ""
    """Of a link."""


def read_members(stream: ByteStream, limits: TreeLimits = TREE_LIMITS) -> Iterator[Member]:
    """Each member, in the archive's order, as it says of itself.

    Raises:
        MalformedArchive: it is no archive, or exceeds the limits. What came before was whole.
    """
    total = headers = 0
    extended: dict[str, str] = {}
    while True:
        header = _exactly(stream, BLOCK)
        if not any(header):
            return _require_end(stream)
        headers += 1
        size = _size_of(extended, _checked_size(header))
        total += BLOCK + size
        if total > limits.total_bytes:
            raise MalformedArchive(f"holds more than {limits.total_bytes >> 20} MiB")
        if headers > limits.members:
            raise MalformedArchive(f"holds more than {limits.members} members")
        flag = header[156:157]
        if flag in (b"L", b"K", b"x", b"g"):
            extended |= _extension(flag, _padded(stream, size, LONGEST_HEADER, "a header"))
            continue
        name = extended.get("path", _header_name(header))
        kind = KINDS.get(flag, "unknown")
        if kind == "file" and name.endswith("/"):
            kind = "directory"  # as archives were before there was a flag for it
        if kind != "file" and size:
            raise MalformedArchive(f"member {name!r} is no file and has content")
        yield Member(
            path=name,
            kind=kind,
            is_executable=bool(_number(header[100:108]) & 0o100),
            content=_padded(stream, size, limits.file_bytes, f"member {name!r}"),
            target=extended.get("linkpath", _text(header[157:257])),
        )
        extended = {}


def inside(name: str, limits: TreeLimits = TREE_LIMITS) -> str:
    """A member's name as a plain relative path; empty for the tree itself.

    Raises:
        MalformedArchive: it leads out of the tree, is too long, or belongs to git.

    >>> inside("./a//b/")
    'a/b'
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise MalformedArchive(f"member {name!r} leads out of the tree")
    if "\0" in name or any(map(is_gits, parts)):
        raise MalformedArchive(f"member {name!r} is named as git's own files are")
    path = "/".join(parts)
    length = len(path.encode("utf-8", "surrogateescape"))
    if length > limits.name_bytes or len(parts) > limits.depth:
        raise MalformedArchive(
            f"member {name[:80]!r}… has a name of {length} bytes in {len(parts)} levels; at most "
            f"{limits.name_bytes} in {limits.depth} are read"
        )
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise MalformedArchive(f"member {name[:80]!r}… has a name that no file can have")
    return path


class Places:
    """The places of a tree, each taken once, and below directories alone."""

    def __init__(self, limits: TreeLimits = TREE_LIMITS) -> None:
        self._limits = limits
        self._kinds: dict[str, Kind] = {}
        self._name_bytes = 0

    def take(self, member: Member) -> Member | None:
        """The member, named by its plain relative path; None for the tree itself.

        Raises:
            MalformedArchive: its name will not do, as `inside` says; it is neither a file nor a directory nor a
                symbolic link; or its place is taken, or lies below what is no directory.
        """
        path, kinds = inside(member.path, self._limits), self._kinds
        if not path:
            return None
        if member.kind not in ("file", "directory", "symbolic link"):
            raise MalformedArchive(f"member {path!r} is a {member.kind}: a tree holds files and directories")
        if kinds.get(path, member.kind) != member.kind or (path in kinds and member.kind != "directory"):
            raise MalformedArchive(f"member {path!r} comes twice")
        above = posixpath.dirname(path)
        missing = []
        while above and above not in kinds:
            missing.append(above)
            above = posixpath.dirname(above)
        if above and kinds[above] != "directory":
            raise MalformedArchive(f"member {path!r} lies below {above!r}, which is a {kinds[above]}")
        self._name_bytes += len(path) + sum(map(len, missing))
        if len(kinds) + len(missing) >= self._limits.members or self._name_bytes > LONGEST_NAMES:
            raise MalformedArchive(f"holds more than {self._limits.members} files and directories")
        kinds.update(dict.fromkeys(missing, "directory"))
        kinds[path] = member.kind
        return replace(member, path=path)


def is_gits(part: str) -> bool:
    """Whether git, on any system, takes a name for `.git`.

    >>> [is_gits(part) for part in (".git", ".GIT", ".g\\u200cit", ".git. ", "git~1", ".gitignore", "git")]
    [True, True, True, True, True, False, False]
    """
    name = _IGNORABLE.sub("", part).casefold().split(":")[0].rstrip(". ")
    return name == ".git" or _SHORT_NAME.fullmatch(name) is not None


def _exactly(stream: ByteStream, size: int) -> bytes:
    content = stream.read(size)
    if len(content) == size:
        return content
    parts = [content]
    while (missing := size - sum(map(len, parts))) > 0:
        parts.append(stream.read(missing))
        if not parts[-1]:
            raise MalformedArchive("is cut short")
    return b"".join(parts)


def _padded(stream: ByteStream, size: int, limit: int, what: str) -> bytes:
    if size > limit:
        raise MalformedArchive(f"{what} of {size} bytes is larger than the {limit} that are read")
    content = _exactly(stream, size)
    _exactly(stream, -size % BLOCK)
    return content


def _require_end(stream: ByteStream) -> None:
    left = LONGEST_PADDING
    while content := stream.read(1 << 16):
        left -= len(content)
        if any(content) or left < 0:
            raise MalformedArchive("goes on behind its end")


def _checked_size(header: bytes) -> int:
    """The size that a header tells. Raises MalformedArchive for what is no header."""
    told = _OCTAL.fullmatch(header[148:156])
    if told is None or int(told[1] or b"0", 8) != sum(header[:148]) + sum(header[156:]) + 8 * 32:
        raise MalformedArchive("is no tar archive, or is damaged")
    return _number(header[124:136])


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    told = _OCTAL.fullmatch(field)
    if told is None:
        raise MalformedArchive("is damaged: a number that is none")
    return int(told[1] or b"0", 8)


def _header_name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    is_posix = header[257:263] == b"ustar\0"
    return f"{prefix}/{name}" if is_posix and prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _extension(flag: bytes, content: bytes) -> dict[str, str]:
    """What a GNU or POSIX header says of the member that follows it."""
    if flag in (b"L", b"K"):
        return {"path" if flag == b"L" else "linkpath": _text(content)}
    records = _records(content)
    if any(key.startswith("GNU.sparse") for key in records):
        raise MalformedArchive("holds a sparse file")
    told = {key: value for key, value in records.items() if key in ("path", "linkpath", "size")}
    if flag == b"g" and told:
        raise MalformedArchive("names all its members at once")
    return told


def _records(content: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    start = 0
    while start < len(content):
        length, blank, _ = content[start : start + 8].partition(b" ")
        end = start + int(length) if blank and length.isdigit() else 0
        if not start + len(length) < end <= len(content):
            raise MalformedArchive("is damaged: a header that cannot be read")
        key, _, value = content[start + len(length) + 1 : end].removesuffix(b"\n").partition(b"=")
        records[_text(key)] = value.decode("utf-8", "surrogateescape")
        start = end
    return records


def _size_of(extended: dict[str, str], size: int) -> int:
    """Of one member: what its header says, or the header before it where that has no room."""
    told = extended.get("size", str(size))
    if not (told.isascii() and told.isdigit() and len(told) < 20) or (size and size != int(told)):
        raise MalformedArchive("is damaged: two sizes of one member")
    return int(told)
