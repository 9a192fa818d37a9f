"""Which tasks of a fixed set are for evaluation alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar

Name = TypeVar("Name")


def held_out(names: Iterable[Name], *, number: int, seed: int) -> set[Name]:
    """So many of the names, drawn by the seed. It depends on the names, not on their order.

    >>> sorted(held_out(["a", "b", "c", "d"], number=2, seed=0)) == sorted(held_out("dcba", number=2, seed=0))
    True
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    return set(ranked[:number])
