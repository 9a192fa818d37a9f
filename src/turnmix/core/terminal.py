"""The one place that writes to standard output and standard error.

In: text that anybody may have had a part in. Out: the same, printable and without secrets. After `show_printable` what
libraries print, warn, log, or raise without being caught passes here too.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO, cast

from turnmix.core.printable import printable_line, spelled_out
from turnmix.core.redaction import redacted

_STYLES = re.compile(r"(\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[[0-9]*[ABK]|\r)")
"""What colours text and moves bars on a terminal; nothing that stays behind, answers, or reaches beyond it."""


def write_output(text: str) -> None:
    """What was asked for, on standard output, as it stands but for what cannot be shown."""
    sys.stdout.write(spelled_out(text, kept="\n"))


def tell(line: str) -> None:
    """One line on standard error, so that standard output stays what was asked for."""
    sys.stderr.write(f"{printable_line(line)}\n")
    sys.stderr.flush()


def show_printable(*, cleaned: Callable[[str], str] = str) -> Callable[[], None]:
    """From here on nothing reaches standard output or standard error that commands a terminal or is a known secret;
    `cleaned` is what standard error makes of text before. Returns what ends it."""
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, _Printable(sys.stdout, cleaned=str))
    sys.stderr = cast(TextIO, _Printable(sys.stderr, cleaned=cleaned))

    def restore() -> None:
        sys.stdout, sys.stderr = before

    return restore


class _Printable:
    """A text stream in front of another. Colours and bars, which libraries draw too, pass to a terminal alone."""

    def __init__(self, stream: TextIO, *, cleaned: Callable[[str], str]) -> None:
        self._stream = stream
        self._cleaned = cleaned
        self._is_styled = stream.isatty() or "FORCE_COLOR" in os.environ

    def write(self, text: str) -> int:
        shown = redacted(self._cleaned(text))
        pieces = _STYLES.split(shown) if self._is_styled else [shown]
        # Every second piece is what was split at.
        self._stream.write(
            "".join(
                piece if place % 2 else spelled_out(piece, kept="\n\t") for place, piece in enumerate(pieces)
            )
        )
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
