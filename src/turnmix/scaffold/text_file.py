"""A file's text and the encoding it is in: what the editor reads is written back in the same way.

    >>> text, encoding = decoded("# coding: latin-1\\nné\\n".encode("latin-1"))
    >>> text, encoding.name
    ('# coding: latin-1\\nné\\n', 'iso8859-1')
    >>> encoding.encoded(text)
    b'# coding: latin-1\\nn\\xe9\\n'

In: bytes. Out: text and its encoding, by the first that holds: a byte order mark; what the file declares in
its first lines; UTF-8; else ASCII with bytes of an unknown encoding, which an edit leaves as they are.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

from turnmix.scaffold.observation import decode, encode, printable, quoted

UTF_8 = "utf-8"
_MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as the one of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARATIONS = (
    re.compile(r"\A(?:[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)", re.ASCII),  # PEP 263
    re.compile(r"\A(?:[^\n]*\n)?[^\n]*-\*-[^\n]*?coding:[ \t]*([-\w.]+)", re.ASCII),  # Emacs
    re.compile(r"\A<\?xml[^>]*?encoding=[\"']([-\w.]+)", re.ASCII),
)
_UNSUITABLE = (
    "utf-8-sig",
    "utf-7",
    "utf-16",
    "utf-32",
    "idna",
    "punycode",
    "unicode",
    "raw-unicode",
    "undefined",
    "mbcs",
)
_NO_TEXT = re.compile(r"[\x01-\x06\x0e-\x1a\x1c-\x1f\x7f]")


class NotText(Exception):
    """Why a file, or a text for it, is nothing that the editor can show or write."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's text is written."""

    name: str | None
    """None: unknown; then text beyond ASCII cannot be added."""
    mark: bytes = b""
    ends_by_return: bool = False
    """Lines end with \\r alone, as on old Macs; in the text they end with \\n."""

    def encoded(self, text: str) -> bytes:
        """Raises NotText where the encoding has no bytes for a character."""
        if self.ends_by_return:
            text = text.replace("\r\n", "\r").replace("\n", "\r")
        if self.name is None:
            return encode(text)
        try:
            return self.mark + printable(text).encode(self.name)
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise NotText(
                f"The file is in the encoding {self.name}, which has no {quoted(character)}: nothing was "
                "written. Use other characters, or convert the file first."
            ) from None

    def check_added(self, text: str) -> None:
        """Raises NotText where `text` cannot be told in the file's encoding, because that is not known."""
        if self.name is None and not text.isascii():
            raise NotText(
                "The file is not UTF-8 and does not declare its encoding, so only ASCII text can be found "
                "or put in. Nothing was written. Find out its encoding and edit it with a program, or "
                "convert it to UTF-8 first."
            )


def decoded(content: bytes) -> tuple[str, Encoding]:
    """The text of a file, without its byte order mark. Raises NotText for a binary file.

    >>> text, encoding = decoded(b"a\\rb\\r")
    >>> text, encoding.encoded(text + "c\\n")
    ('a\\nb\\n', b'a\\rb\\rc\\r')
    """
    text, encoding = _decoded(content)
    if "\r" in text and "\n" not in text:
        return text.replace("\r", "\n"), replace(encoding, ends_by_return=True)
    return text, encoding


def _decoded(content: bytes) -> tuple[str, Encoding]:
    """As `decoded`, with the line ends that it has."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return _after_mark(content, mark, name), Encoding(name, mark)
    if b"\0" in content:
        raise NotText(_binary(content))
    text = content.decode("latin-1")
    declared = declared_encoding(text if "\n" in text else text.replace("\r", "\n"))
    for name in (declared, UTF_8):
        try:
            text = content.decode(name)
            if text.encode(name) == content:
                return text, Encoding(name)
        except UnicodeError:
            continue
    text = decode(content)
    if _NO_TEXT.search(text):
        raise NotText(_binary(content))
    return text, Encoding(None)


def encoding_after(encoding: Encoding, *, before: str, after: str) -> Encoding:
    """The encoding for a file's changed text: another one where the change declares another."""
    declared = declared_encoding(after)
    if encoding.mark or encoding.name is None or declared == declared_encoding(before):
        return encoding
    return replace(encoding, name=declared)


def declared_encoding(text: str) -> str:
    """What the first lines of a text call its encoding; UTF-8 where they call it nothing that Python knows."""
    for declaration in _DECLARATIONS:
        if found := declaration.search(text):
            try:
                name = codecs.lookup(found[1]).name
                "".encode(name)  # refuses what is no encoding of text
            except (LookupError, ValueError):
                return UTF_8
            return UTF_8 if name.startswith(_UNSUITABLE) else name
    return UTF_8


def _after_mark(content: bytes, mark: bytes, name: str) -> str:
    try:
        text = content[len(mark) :].decode(name)
    except UnicodeDecodeError:
        raise NotText(_binary(content)) from None
    if "\0" in text:
        raise NotText(_binary(content))
    return text


def _binary(content: bytes) -> str:
    return (
        f"The file is binary ({len(content)} bytes), not text in an encoding that the editor knows. "
        "Use a program to look at it or change it."
    )
