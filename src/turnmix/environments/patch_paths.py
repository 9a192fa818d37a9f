"""Which files a patch is about, read from its headers alone.

In: a unified diff, of git or of `diff -u`, also a damaged one. Out: paths without `a/` and `b/`.

>>> sorted(patch_paths("--- a/shelf.py\\n+++ b/shelf.py\\n@@ -1 +1 @@\\n-1\\n+2\\n"))
['shelf.py']
>>> sorted(patch_paths("diff --git a/old b/new\\nrename from old\\nrename to new\\n"))
['new', 'old']
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@")
_GIT = re.compile(r"diff --git a/(.+) b/\1$")
_HEADERS = ("rename from ", "rename to ", "copy to ")
_ESCAPED = re.compile(r"\\([0-7]{3}|.)")
_LONGEST_HEADER = 8192
"""Characters; a path has at most 4,096 bytes. A longer line names no file."""
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def patch_paths(patch: str) -> frozenset[str]:
    """What the patch changes, adds, removes and moves. Lines inside a hunk are text, whatever they look like."""
    return frozenset(_paths(patch.split("\n")))


def _paths(lines: list[str]) -> Iterator[str]:
    old = new = 0
    """Lines that the current hunk still has."""
    for line in lines:
        if old > 0 or new > 0:
            old -= line[:1] in ("-", " ", "")
            new -= line[:1] in ("+", " ", "")
            continue
        if hunk := _HUNK.match(line):
            old, new = (int(size or 1) for size in hunk.groups())
        elif len(line) > _LONGEST_HEADER:
            continue
        elif line.startswith(("--- ", "+++ ")):
            yield from _named(line[4:])
        elif header := next((header for header in _HEADERS if line.startswith(header)), None):
            yield _unquoted(line[len(header) :])
        elif moved := _GIT.match(line):
            yield moved[1]


def _named(name: str) -> Iterator[str]:
    """The path in a `---` or `+++` line, unless there is no file on that side."""
    path = _unquoted(name.partition("\t")[0].rstrip("\r"))
    if path and path != "/dev/null":
        yield path[2:] if path.startswith(("a/", "b/")) else path


def _unquoted(path: str) -> str:
    """Git writes unusual names in quotes, byte by byte."""
    if len(path) < 2 or not (path.startswith('"') and path.endswith('"')):
        return path
    pieces = _ESCAPED.split(path[1:-1])
    content = b"".join(
        piece.encode("utf-8", "surrogateescape")
        if place % 2 == 0
        else bytes([int(piece, 8) & 0xFF])
        if len(piece) == 3
        else _PLAIN.get(piece, piece).encode("utf-8", "surrogateescape")
        for place, piece in enumerate(pieces)
    )
    return content.decode("utf-8", "surrogateescape")
