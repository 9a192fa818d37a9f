"""What was asked for lately, and no more than there is room for. Threads may share it, and none waits.

>>> cache = RecentCache[str, int](most=6)
>>> for word in ("one", "two", "one", "three"):
...     cache.put(word, len(word), size=len(word))
>>> cache.get("one"), cache.get("two")
(3, None)
>>> cache.put("one", 4, size=1000)  # it has grown
>>> cache.get("three")
>>> cache.get("one")
4
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentCache(Generic[Key, Value]):
    """What is not asked for while half of the room is filled anew goes."""

    def __init__(self, *, most: int) -> None:
        """`most`: the sizes of all values together."""
        self._most = most
        self._size = 0
        self._young: dict[Key, tuple[Value, int]] = {}
        self._old: dict[Key, tuple[Value, int]] = {}

    def get(self, key: Key) -> Value | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, found[0], size=found[1])
        return found[0]

    def put(self, key: Key, value: Value, *, size: int) -> None:
        """`size`: in whatever `most` counts."""
        self._size += size - (self._young[key][1] if key in self._young else 0)
        self._young[key] = (value, size)
        if 2 * self._size > self._most:
            self._old, self._young, self._size = self._young, {}, 0
