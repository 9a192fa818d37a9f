"""Stages that run beside those of the loop itself: one after the other, in a thread of their own.

In: stages that need nothing of what the loop does meanwhile. Out: their end, waited for where it is needed. What
fails in the branch is raised in the loop at its next `check`; what ends the loop ends the branch.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any


class Branch:
    """Inside its context stages may begin. At an orderly end it waits for them; otherwise it stops them."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="turnmix-branch")
        self._begun: list[Future[None]] = []
        self._lock = threading.Lock()
        self._is_stopped = False
        self._cancel: Callable[[], object] | None = None

    def begin(self, stage: Callable[[], None]) -> Future[None]:
        """Run `stage` once those begun before have ended; its result says that it has ended, or how it failed."""
        begun = self._thread.submit(stage)
        self._begun.append(begun)
        return begun

    def check(self) -> None:
        """Raises what a stage has failed with."""
        for stage in self._begun:
            if stage.done():
                stage.result()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """As `asyncio.run`, for a stage of the branch: cancelled when the branch is stopped."""
        asyncio.run(self._stoppable(coroutine))

    async def _stoppable(self, coroutine: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine)
        with self._lock:
            self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
            if self._is_stopped:
                task.cancel()
        try:
            await task
        finally:
            with self._lock:
                self._cancel = None

    def __enter__(self) -> Branch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for stage in self._begun:
                    stage.result()
        finally:
            with self._lock:
                self._is_stopped = True
                if self._cancel is not None:
                    self._cancel()
            self._thread.shutdown(cancel_futures=True)
