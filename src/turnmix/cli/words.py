"""What the words of a command line are: overrides (`key=value`), and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnmix.core.errors import UserError


def names_and_overrides(words: Sequence[str], *, at_most: int) -> tuple[list[str], list[str]]:
    """Names first, then overrides; a file whose name holds `=` is a name.

    Raises:
        UserError: more than `at_most` names.
    """
    overrides = [word for word in words if "=" in word and not Path(word).is_file()]
    names = [word for word in words if word not in overrides]
    if len(names) > at_most:
        raise UserError(f"{names[at_most]!r} is one name too many: write an override as key=value")
    return names, overrides
