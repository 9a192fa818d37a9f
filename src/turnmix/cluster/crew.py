"""The workers of a run: begun by Ray where it has room, watched, and replaced where they are lost.

In: how many there are to be, and what each is made of. Out: those that are ready. All of it in one event loop.

A worker is lost when Ray says so, or when it gives no sign of life for two heartbeats. It is ended, and another one is
begun, also where a machine came to the cluster meanwhile. A machine that loses worker after worker gets none any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from turnmix.cluster.cluster_worker import ClusterWorker
from turnmix.cluster.connection import namespace_of
from turnmix.cluster.counts import NodeCounts
from turnmix.cluster.order import Whereabouts
from turnmix.cluster.settings import ClusterSettings
from turnmix.core.errors import InfrastructureError, TurnMixError, first_line

LIFE = "life"
"""The concurrency group, with an event loop of its own, in which a worker says that it lives."""
MOST_ORDERS = 10_000
"""Under way at one worker: never what bounds them."""
WAITING_SECONDS = 30.0
"""After which a worker that Ray has no room for is told of."""


@dataclass(eq=False, slots=True)
class CrewWorker:
    """One whose process Ray has begun."""

    actor: Any
    name: str
    place: Whereabouts
    lost: asyncio.Future[str]
    """Done once it is: how it was lost."""
    num_open: int = 0
    """Trajectories under way."""
    num_lost: int = 0
    """Those that were when it was lost."""

    def lose(self, how: str) -> None:
        if not self.lost.done():
            self.num_lost = self.num_open
            self.lost.set_result(how)


class Crew:
    """Begun and ended once."""

    def __init__(
        self,
        make: type[ClusterWorker],
        parts: Any,
        settings: ClusterSettings,
        *,
        run: str,
        counts: NodeCounts,
        say: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        """`make`: the class of the actors; `parts`: what each is made of. `run`: its name, by which Ray's dashboard
        shows its workers. `say` is told of losses. `on_change` is called when a worker is ready, or none will be."""
        self._make = make
        self._parts = parts
        self._namespace = namespace_of(run)
        self._settings = settings
        self._run = run
        self._counts = counts
        self._say = say
        self._on_change = on_change
        self._filling: list[asyncio.Task[None]] = []
        self._num_begun = 0
        self.ready: list[CrewWorker] = []
        """Those that take orders."""
        self.failure: BaseException | None = None
        """Why there are no workers any more."""

    async def begin(self) -> None:
        for _ in range(self._settings.rollout_workers):
            self._filling.append(asyncio.create_task(self._fill()))

    async def end(self) -> None:
        for task in self._filling:
            task.cancel()
        await asyncio.gather(*self._filling, return_exceptions=True)

    async def _fill(self) -> None:
        """One worker after another, each as long as it lives."""
        try:
            while True:
                worker = await self._placed()
                if worker is not None:
                    await self._live(worker)
                    self._count_loss(worker.place, worker.lost.result(), num_lost=worker.num_lost)
        except Exception as error:
            self.failure = self.failure or error
            self._on_change()

    async def _live(self, worker: CrewWorker) -> None:
        """Until it is lost. Raises TurnMixError: its machine cannot do the work."""
        import ray

        watching = asyncio.create_task(self._watch(worker))
        try:
            if await self._is_prepared(worker):
                self.ready.append(worker)
                self._on_change()
                await asyncio.wait({worker.lost})
                self.ready.remove(worker)
        finally:
            watching.cancel()
            ray.kill(worker.actor)  # one that does not end within seconds is killed by its machine

    async def _placed(self) -> CrewWorker | None:
        """A new one, once Ray has begun its process; None: it was lost before."""
        import ray
        from ray.exceptions import RayError

        name = f"turnmix-{self._run}-worker-{self._num_begun}"
        self._num_begun += 1
        actor = self._actor(name)
        placing = asyncio.ensure_future(actor.whereabouts.remote())
        try:
            if not (await asyncio.wait({placing}, timeout=WAITING_SECONDS))[0]:
                self._say(f"{name} has not begun yet: the cluster is to have room for {self._wanted()}")
            return CrewWorker(actor, name, await placing, asyncio.get_running_loop().create_future())
        except RayError as error:
            self._count_loss(None, first_line(error), num_lost=0)
            return None
        except BaseException:
            ray.kill(actor)
            raise

    async def _is_prepared(self, worker: CrewWorker) -> bool:
        from ray.exceptions import RayError, RayTaskError

        preparing = asyncio.ensure_future(worker.actor.prepare.remote())
        await asyncio.wait({preparing, worker.lost}, return_when=asyncio.FIRST_COMPLETED)
        try:
            return not worker.lost.done() and await preparing is None
        except RayTaskError as error:
            raise told_where(error, worker.place) from error
        except RayError as error:
            worker.lose(first_line(error))
            return False

    def _actor(self, name: str) -> Any:
        import ray

        settings = self._settings
        left_out = ",".join(self._counts.left_out)
        return (
            ray.remote(concurrency_groups={LIFE: 1}, max_concurrency=MOST_ORDERS)(self._make)
            .options(
                name=name,
                namespace=self._namespace,
                num_cpus=settings.cpus_per_worker,
                num_gpus=settings.gpus_per_worker,
                resources=dict(settings.resources_per_worker),
                scheduling_strategy="SPREAD",
                **({"label_selector": {"ray.io/node-id": f"!in({left_out})"}} if left_out else {}),
            )
            .remote(self._parts)
        )

    def _wanted(self) -> str:
        settings = self._settings
        named = {"CPUs": settings.cpus_per_worker, "GPUs": settings.gpus_per_worker}
        wanted = {**named, **settings.resources_per_worker}
        return ", ".join(f"{number:g} {what}" for what, number in wanted.items() if number)

    async def _watch(self, worker: CrewWorker) -> None:
        """Until it is lost. What this process slept through is no fault of a worker's: it is waited for twice."""
        from ray.exceptions import RayError

        beat = self._settings.heartbeat_seconds
        while not worker.lost.done():
            asked = worker.actor.alive.options(concurrency_group=LIFE)
            sign = asyncio.ensure_future(asked.remote(self._counts.logged(worker.name)))
            for _ in range(2):
                await asyncio.wait({sign, worker.lost}, timeout=beat / 2, return_when=asyncio.FIRST_COMPLETED)
            if worker.lost.done():
                break
            if not sign.done():
                worker.lose(f"it gave no sign of life for {2 * beat:g} s")
            elif isinstance(error := sign.exception(), RayError):
                worker.lose(first_line(error))
            else:
                self._counts.log(worker.name, worker.place.name, sign.result())
                await asyncio.wait({worker.lost}, timeout=beat)

    def _count_loss(self, place: Whereabouts | None, how: str, *, num_lost: int) -> None:
        """Raises InfrastructureError: no machine is left, or workers do not even begin."""
        again = f": its {num_lost} {self._make.works_at} begin again" if num_lost else ""
        where = "before it began" if place is None else f"on {place.name}"
        self._say(f"a worker was lost {where} ({how}){again}")
        most = self._settings.worker_failures
        if self._counts.lose(place, most=most) and place is not None:
            self._say(f"{place.name} lost {most} workers: it gets none any more")
        if not self._counts.is_any_left(most=most):
            raise InfrastructureError(
                f"cluster: every machine lost {most} workers (cluster.worker_failures); the last one: {how}"
            )


def told_where(error: Any, place: Whereabouts | None) -> Any:
    """What a worker raised, as in one process, with the machine's name; a bug with the worker's own traceback."""
    cause = error.cause
    if not isinstance(cause, TurnMixError):
        return error
    *lines, last = cause.lines or ("",)
    where = "" if place is None else f" (on {place.name})"
    return type(cause)(*lines, f"{last}{where}")
