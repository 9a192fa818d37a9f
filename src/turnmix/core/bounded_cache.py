"""What was made once and is kept while there is room: by bytes, because a stranger may choose how large each is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Threads may share it. What was not asked for longest goes first.

    >>> cache = BoundedCache[str](max_bytes=4)
    >>> cache.put("a", "first", size=2); cache.put("b", "second", size=3)
    >>> cache.get("a"), cache.get("b")
    (None, 'second')
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Value | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: str, value: Value, *, size: int) -> None:
        """`size`: of the value in bytes. One larger than all the room is not kept."""
        with self._lock:
            self._bytes += size - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = (value, size)
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][1]
