r"""In: text that anybody may have written. Out: text that cannot command a terminal, or pass for other text.

Spelled out are control characters, those that turn the direction of writing, those that are not seen, and halves of
surrogate pairs.

>>> printable("a\x1b[2Jb\n\u202ec"), printable_line("a\nRESOLVED")
('a\\x1b[2Jb\n\\u202ec', 'a\\nRESOLVED')
"""

from __future__ import annotations

_UNSEEN = frozenset(
    chr(code)
    for codes in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        range(0x180B, 0x1810),
        range(0xFE00, 0xFE0E),
        range(0xE0100, 0xE01F0),
    )
    for code in codes
)
"""Fillers and selectors of variants, which Python counts as printable. The two that choose how an emoji looks stay."""
LONGEST_LINE = 4000
"""Of a line that tells something: what is longer is shown by its beginning and its end."""


def printable(text: str) -> str:
    """Lines stay lines."""
    return spelled_out(text.expandtabs(4), kept="\n")


def printable_line(text: str) -> str:
    """One line of bounded length: a newline in the text begins no line that could pass for another."""
    half = LONGEST_LINE // 2
    # Cut before it is spelled out too, which makes ten characters of one.
    if len(text) > LONGEST_LINE:
        text = f"{text[:half]} … {text[-half:]}"
    line = spelled_out(text.expandtabs(4), kept="")
    return line if len(line) <= LONGEST_LINE + 3 else f"{line[:half]} … {line[-half:]}"


def spelled_out(text: str, *, kept: str) -> str:
    """All that cannot be shown as it is, but the characters `kept`."""
    shown = text
    for character in kept:
        shown = shown.replace(character, "")
    if shown.isascii() and shown.isprintable():
        return text
    return "".join(
        character
        if (character.isprintable() and character not in _UNSEEN) or character in kept
        else character.encode("unicode_escape").decode()
        for character in text
    )
