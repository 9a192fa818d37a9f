"""Two resolved recipes as mappings in; the fields in which they differ out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def differences(stored: Any, given: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each dotted field with its two values.

    >>> list(differences({"seed": 0, "learner": {"epochs": 1}}, {"seed": 0, "learner": {"epochs": 2}}))
    [('learner.epochs', 1, 2)]
    """
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in [*stored, *(key for key in given if key not in stored)]:
            below = f"{field}.{key}".lstrip(".")
            yield from differences(stored.get(key), given.get(key), below)
    elif stored != given:
        yield field, stored, given
