"""A template that was tried may still be endless on a conversation that nobody tried: its rendering is ended.

In: a block of code. Out: the same, or `OutOfTimeError` raised inside it once its thread has worked on it for too long.
It reaches every loop of Python's; one step of a library's that takes forever, it does not.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 20.0
"""Of processor time: that of a process which was stopped, or waits for others, does not count."""
_LOOKED_EVERY = 0.5


class OutOfTimeError(Exception):
    """The block was ended."""

    def __init__(self) -> None:
        super().__init__("it does not come to an end")


_begun: dict[int, float] = {}
"""Thread -> its processor time when it entered its block."""
_lock = threading.Lock()
_watch: threading.Thread | None = None


@contextmanager
def limited_in_time() -> Iterator[None]:
    """Not to be entered twice by one thread."""
    if not hasattr(time, "pthread_getcpuclockid"):
        yield
        return
    _start_watch()
    thread = threading.get_ident()
    _begun[thread] = time.thread_time()
    try:
        yield
    finally:
        # Under the lock, so that nothing is raised in this thread once it has left.
        with _lock:
            _begun.pop(thread, None)


def _start_watch() -> None:
    global _watch
    if _watch is None or not _watch.is_alive():  # a forked process has no thread but its own
        _watch = threading.Thread(target=_look, name="templates", daemon=True)
        _watch.start()


def _look() -> None:
    while True:
        time.sleep(_LOOKED_EVERY)
        with _lock:
            for thread, begun in list(_begun.items()):
                if time.clock_gettime(time.pthread_getcpuclockid(thread)) - begun > SECONDS:
                    _raise_in(thread)


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(OutOfTimeError))
