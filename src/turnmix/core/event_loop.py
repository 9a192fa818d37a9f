"""Coroutines called from code that is none: also where an event loop runs already, as in a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_coroutine(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`; where a loop runs in this thread, in a loop of its own in another thread, which is waited for
    and stopped by Ctrl-C."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_ended_in_order(coroutine))
    result: Result = _Beside(coroutine).result()
    return result


async def _ended_in_order(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """asyncio has an interrupt cancel the coroutine alone, but not before Python 3.11 nor where interrupts are ignored,
    as of what a shell runs in the background, and SIGTERM comes instead. What these raise would cancel all tasks at
    once, also those that the cleaning up of others waits for. So here the first one cancels the coroutine alone; the
    next is what it was."""
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    asks = signal.SIGTERM if is_ignored else signal.SIGINT
    previous = signal.getsignal(asks)
    is_main = threading.current_thread() is threading.main_thread()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    is_asyncios = not is_ignored and sys.version_info >= (3, 11)
    if is_asyncios or not is_main or not callable(previous) or task is None:
        return await coroutine
    cancel, times = task.cancel, 0

    def end(number: int, frame: Any) -> None:
        nonlocal times
        times += 1
        if times > 1:
            previous(number, frame)
        loop.call_soon_threadsafe(cancel)

    signal.signal(asks, end)
    try:
        return await coroutine
    except asyncio.CancelledError:
        if times == 1:
            raise KeyboardInterrupt from None
        raise  # of all tasks, after what the second one raised
    finally:
        signal.signal(asks, previous)


class _Beside:
    """A coroutine in a thread of its own."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_running = self._is_stopped = False
        self._has_ended = threading.Event()
        """Waited for instead of `Thread.join`, which Python 3.11 believes to be over once it was interrupted."""
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="turnmix-loop")

    def result(self) -> Any:
        try:
            self._thread.start()
            self._has_ended.wait()
        except BaseException:  # Ctrl-C reaches the thread that waits, also for the other to start
            self._stop()
            if self._is_running:
                self._has_ended.wait()
            raise
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        self._is_running = True
        try:
            self._result = asyncio.run(self._begin())
        except BaseException as error:  # it is raised where it was waited for
            self._error = error
        finally:
            self._has_ended.set()

    async def _begin(self) -> Any:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._coroutine)
        if self._is_stopped:  # before there was a task to cancel
            self._task.cancel()
        return await self._task

    def _stop(self) -> None:
        self._is_stopped = True
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)
