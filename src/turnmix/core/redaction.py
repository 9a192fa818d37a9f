"""In: secrets of this process, and a text. Out: the text, in which none of them can be read.

A key is known from the moment at which it is read: out of the environment, or out of a URL. From then on all that is
written to a file, shown to a person or taken from an endpoint's answer passes `redacted`, which finds a key plain,
escaped as JSON, URLs and HTML do it, in hexadecimal digits, and in base64 wherever it begins in what was encoded.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from turnmix.core.json_text import json_text

HIDDEN = "***"
SHORTEST = 8
"""Characters of a secret that is hidden everywhere: a shorter one is part of innocent words and numbers."""
_PLACEHOLDERS = re.compile(
    r"""
    anything | disabled | localhost | lm-studio | nothing | optional | password | placeholder | postgres | required
    | undefined | unlimited | username | whatever | (your-|no-)?api[-_]?key | your-key | (sk-)?no-key-(needed|required)
    | change-?me | not-(needed|provided|required|used|set)
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What stands where software insists on a key and none is needed: words that any text may hold."""
_NUMBER = re.compile(r"[0-9eE.,:+\-_]+")
_ESCAPE = re.compile(
    r"\\+u([0-9a-fA-F]{4})|\\+x([2-7][0-9a-fA-F])|%(?:25)*([2-7][0-9a-fA-F])|&#[xX]0*([2-7][0-9a-fA-F]);?"
    r"|&#0*(\d{2,3});?|\\+(/)"
)

_secrets: dict[str, tuple[str, ...]] = {}
"""Each secret, and the forms of it that are looked for."""


def keep_secret(value: str) -> None:
    """From now on `value` is shown nowhere and stored nowhere. What is no secret, but a number, a placeholder such as
    `not-needed` or too short, is not kept: it would be cut out of innocent text."""
    if is_secret(value) and value not in _secrets:
        _secrets[value] = _forms(value)


def is_secret(value: str) -> bool:
    """Is it long and odd enough to be one?

    >>> [is_secret(each) for each in ("sk-0123456789", "EMPTY", "not-needed", "1234567890")]
    [True, False, False, False]
    """
    is_placeholder = _PLACEHOLDERS.fullmatch(value) is not None
    return len(value) >= SHORTEST and not is_placeholder and _NUMBER.fullmatch(value) is None


def redacted(text: str) -> str:
    """`text` without any secret of this process.

    >>> with own_secrets():
    ...     keep_secret("sk-0123456789")
    ...     redacted("sk-0123456789 c2stMDEyMzQ1Njc4OQ== sk%2D0123456789 sk-012345678")
    '*** ***Q== *** sk-012345678'
    """
    if not _secrets:
        return text
    for forms in _secrets.values():
        for form in forms:
            if form in text:
                text = text.replace(form, HIDDEN)
    return _without_escaped(text)


def redacted_bytes(content: bytes) -> bytes:
    """As `redacted`, of text in UTF-8 and of anything else."""
    if not _secrets:
        return content
    text = content.decode("utf-8", "surrogateescape")
    shown = redacted(text)
    return content if shown is text else shown.encode("utf-8", "surrogateescape")


@contextmanager
def own_secrets() -> Iterator[None]:
    """What becomes secret inside is forgotten behind it: one command of several in a process."""
    before = dict(_secrets)
    try:
        yield
    finally:
        _secrets.clear()
        _secrets.update(before)


def _forms(secret: str) -> tuple[str, ...]:
    """The secret as it stands in text, longest first."""
    plain = secret.encode("utf-8", "surrogateescape")
    found = {secret, json_text(secret)[1:-1], quote(plain, safe=""), plain.hex(), plain.hex().upper()}
    for offset in range(3):
        encoded = _base64_core(plain, offset)
        found |= {encoded, encoded.translate({ord("+"): "-", ord("/"): "_"})}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _base64_core(plain: bytes, offset: int) -> str:
    """What stays the same in base64 whatever stands around `plain`, which begins `offset` bytes behind a group of 3.

    >>> _base64_core(b"secret", 0) in base64.b64encode(b"secretive").decode()
    True
    >>> _base64_core(b"secret", 1) in base64.b64encode(b"a secret").decode()
    False
    >>> _base64_core(b"secret", 2) in base64.b64encode(b"a secret").decode()
    True
    """
    encoded = base64.b64encode(b"\0" * offset + plain).decode()
    return encoded[(offset * 8 + 5) // 6 : (offset + len(plain)) * 8 // 6]


def _without_escaped(text: str) -> str:
    """Without secrets of which characters are written as `\\u0073`, `%73`, `&#115;` or `\\/`."""
    if not any(sign in text for sign in ("\\u", "\\x", "\\/", "%", "&#")):
        return text
    plain = _ESCAPE.sub(_unescaped, text)
    for forms in _secrets.values():
        for form in forms:
            if form in plain:
                text = _escaped_form(form).sub(HIDDEN, text)
    return text


def _unescaped(match: re.Match[str]) -> str:
    *hexadecimal, decimal, itself = match.groups()
    if itself:
        return itself
    code = int(decimal) if decimal else int(next(filter(None, hexadecimal)), 16)
    return chr(code) if code >= 0x20 and code != 0x7F else match[0]


@functools.lru_cache(maxsize=64)
def _escaped_form(form: str) -> re.Pattern[str]:
    """The form with any of its characters escaped."""
    return re.compile("".join(map(_character, form)))


def _character(character: str) -> str:
    code = f"{ord(character):02x}"
    digits, long_digits = (
        "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in written)
        for written in (code, code.zfill(4))
    )
    itself = r"\\*" if character == "/" else ""
    return (
        rf"(?:{itself}{re.escape(character)}|\\+u{long_digits}|\\+x{digits}|%(?:25)*{digits}|&#[xX]0*{digits};?"
        rf"|&#0*{ord(character)};?)"
    )
