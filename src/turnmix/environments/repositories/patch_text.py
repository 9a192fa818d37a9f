"""A patch as text and as bytes, and what of it is text."""

from __future__ import annotations

import re

SECTION = re.compile(rb"^(?=diff --git )", re.MULTILINE)
"""Where what a patch says of another file begins."""
PATCH_BYTES = 8 << 20
"""More than that is no patch. Its trajectory is one line of a journal, where a byte of it may take six."""


def encoded(text: str) -> bytes:
    """A patch's own bytes: what is not UTF-8 is kept as half a surrogate pair."""
    return text.encode("utf-8", "surrogateescape")


def decoded(patch: bytes) -> str:
    """What `encoded` gives back as it was."""
    return patch.decode("utf-8", "surrogateescape")


def text_sections(patch: bytes) -> bytes:
    """The patch without its binary files.

    >>> text_sections(b"diff --git a/x b/x\\nBinary files a/x and b/x differ\\ndiff --git a/y b/y\\n+1\\n")
    b'diff --git a/y b/y\\n+1\\n'
    """
    sections = SECTION.split(patch)
    return b"".join(s for s in sections if b"\nBinary files " not in s and b"\nGIT binary patch" not in s)
