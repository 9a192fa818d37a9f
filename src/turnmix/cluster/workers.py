"""Orders, of cohorts or of tests, dealt out to workers, and what comes of them taken in.

In: orders, from any thread. Out: their results. Dealing and watching happen in one event loop, in a thread of its
own. No more is under way than fits into the slots of the workers, so that what the driver holds does not grow with what
there is to do.

The cohorts of a lost worker are rolled out again from their start by another one. That is nobody's doing: no attempt at
a trajectory is counted, and a plan gives the same trajectory again. A cohort that loses worker after worker ends the
run, as it would in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

from turnmix.cluster.cluster_worker import ClusterWorker
from turnmix.cluster.counts import NodeCounts
from turnmix.cluster.crew import Crew, CrewWorker, told_where
from turnmix.cluster.order import Work
from turnmix.cluster.settings import ClusterSettings
from turnmix.core.errors import InfrastructureError, first_line

Keep = Callable[[Any], Awaitable[None]]


@dataclass(eq=False, slots=True)
class _Batch:
    """The orders of one collection that are under way."""

    keep: Keep
    is_first: bool
    running: set[asyncio.Task[None]] = field(default_factory=set)
    failure: BaseException | None = None


class Workers:
    """A context, where Ray is connected: inside it there are workers, or will be once Ray has room."""

    def __init__(
        self,
        make: type[ClusterWorker],
        parts: Any,
        settings: ClusterSettings,
        *,
        run: str,
        concurrency: int,
        counts: NodeCounts,
        say: Callable[[str], None],
    ) -> None:
        """`concurrency`: trajectories, or test runs, that each worker has under way. The others: see `Crew`."""
        self._most_losses = settings.worker_failures
        self._concurrency = concurrency
        self._counts = counts
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="turnmix-cluster", daemon=True)
        self._crew = Crew(make, parts, settings, run=run, counts=counts, say=say, on_change=self._notify)
        self._num_admitting = 0
        """Collections that come first and have orders left to begin."""
        self._changed = asyncio.Event()

    def __enter__(self) -> Workers:
        self._thread.start()
        self._call(self._crew.begin()).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call(self._end()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def do(self, orders: Iterable[Work], *, keep: Keep, is_first: bool) -> None:
        """Have all done; from a loop of any thread, in which `keep` is awaited with each result. One that came before
        its worker was lost comes again. `is_first`: others wait while it has orders left to begin.

        Raises:
            InfrastructureError: workers are lost again and again.
            TurnMixError: what a worker raised.
        """
        loop = asyncio.get_running_loop()

        async def keep_there(result: Any) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(keep(result)), loop))

        await asyncio.wrap_future(self._call(self._do(orders, _Batch(keep_there, is_first))))

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _end(self) -> None:
        await self._crew.end()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _do(self, orders: Iterable[Work], batch: _Batch) -> None:
        try:
            with self._admitting(batch):
                for order in orders:
                    worker = await self._room(order, batch)
                    task = asyncio.create_task(self._finish(order, worker, batch))
                    batch.running.add(task)
                    task.add_done_callback(partial(self._note_end, batch))
            while batch.running:
                await self._next_change(batch)
        finally:
            for task in batch.running:
                task.cancel()
            await asyncio.gather(*batch.running, return_exceptions=True)

    @contextlib.contextmanager
    def _admitting(self, batch: _Batch) -> Iterator[None]:
        self._num_admitting += batch.is_first
        try:
            yield
        finally:
            self._num_admitting -= batch.is_first
            self._notify()

    async def _room(self, order: Work, batch: _Batch) -> CrewWorker:
        """A worker with free slots, which are taken; a cohort larger than all of them begins where nothing is open."""
        number = order.size
        while True:
            if batch.is_first or not self._num_admitting:
                living = (each for each in self._crew.ready if not each.lost.done())
                worker = min(living, key=lambda each: each.num_open, default=None)
                if worker is not None and worker.num_open in (0, *range(self._concurrency - number + 1)):
                    worker.num_open += number
                    return worker
            await self._next_change(batch)

    async def _next_change(self, batch: _Batch) -> None:
        """Raises what a task of the batch raised, or why there are no workers any more."""
        if not (batch.failure or self._crew.failure):
            await self._changed.wait()
        if failure := batch.failure or self._crew.failure:
            raise failure

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _note_end(self, batch: _Batch, task: asyncio.Task[None]) -> None:
        batch.running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            batch.failure = batch.failure or task.exception()
        self._notify()

    async def _finish(self, order: Work, worker: CrewWorker, batch: _Batch) -> None:
        """One order, on another worker where one is lost."""
        lost: list[str] = []
        while True:
            try:
                if await self._has_streamed(order, worker, batch):
                    return
            finally:
                worker.num_open -= order.size
                self._notify()
            lost.append(f"{worker.place.name}: {worker.lost.result()}")
            if len(lost) >= self._most_losses:
                raise InfrastructureError(f"{order.told}: {len(lost)} workers were lost at them", *lost)
            worker = await self._room(order, batch)

    async def _has_streamed(self, order: Work, worker: CrewWorker, batch: _Batch) -> bool:
        """False: the worker was lost meanwhile. Raises what it raised otherwise."""
        from ray.exceptions import RayError, RayTaskError

        async def read() -> None:
            async for reference in order.begin(worker.actor):
                result = await reference
                await batch.keep(result)
                self._counts.add(worker.place.name, order.figure(result))

        reading = asyncio.create_task(read())
        either: set[asyncio.Future[Any]] = {reading, worker.lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return False
            reading.result()
            return True
        except RayTaskError as error:
            raise told_where(error, worker.place) from error
        except RayError as error:
            worker.lose(first_line(error))
            return False
        finally:
            reading.cancel()


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable
