"""A rollout worker: the process on one of the cluster's machines that rolls out and evaluates whole cohorts.

In: orders. Out: their trajectories, each as it ends. It holds nothing that the driver does not have, or could not ask
another one for: one that is lost costs the time of what it had under way.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from turnmix.assembly.machine import check_machine
from turnmix.assembly.source import make_source
from turnmix.assembly.teacher import make_teacher
from turnmix.cluster.acting import SentStudent, WorkerStudents
from turnmix.cluster.cluster_worker import ClusterWorker
from turnmix.cluster.order import Order, WorkerParts
from turnmix.cluster.served import SentServed
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import TaskSource, accident_of, expert_of
from turnmix.gateway.session.tokens import RoughTokenCounter, TokenCounter
from turnmix.loop.collector_choice import collector_of
from turnmix.policies.policy import Policy
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.recipe.recipe import Recipe, recipe_of
from turnmix.rollout.request import RolloutRequest

_NOBODY = ScriptedPolicy.of_actions("nobody", [text_action("")])


class RolloutWorker(ClusterWorker):
    """An actor."""

    works_at = "trajectories"

    def __init__(self, parts: WorkerParts) -> None:
        super().__init__(parts.process)
        self._parts = parts
        self._source: TaskSource | None = None
        self._teacher: Policy | None = None
        self._served: dict[SentServed, tuple[Policy, TokenCounter]] = {}

    async def roll_out(self, order: Order) -> AsyncIterator[Trajectory]:
        """The trajectories of a cohort, as they end.

        Raises:
            TurnMixError: as a collection in one process does.
        """
        assert self._source is not None
        student, count = await self._student(order.student)
        accidents = None
        if order.accidents is not None:
            accidents = order.accidents(
                policy=accident_of(self._source, self._recipe.rollouts.accidents.kind)
            )
        logs = self._parts.logs if self._parts.logs.is_dir() else Path(tempfile.gettempdir())
        collect = collector_of(self._recipe, count=lambda: count, logs=logs, is_taught=order.is_taught)
        ended: asyncio.Queue[Trajectory] = asyncio.Queue()
        collecting = asyncio.create_task(
            collect(
                RolloutRequest(
                    plans=order.plans,
                    source=self._source,
                    student=student,
                    teacher=await self._opened_teacher() if order.asks_teacher else None,
                    mixture=order.mixture,
                    label=order.label,
                    concurrency=len(order.plans),
                    on_trajectory=ended.put_nowait,
                    attempts=order.attempts,
                    backoff_seconds=order.backoff_seconds,
                    unfinished=order.unfinished,
                    accidents=accidents,
                    takes_over=order.takes_over,
                )
            )
        )
        try:
            async for trajectory in _until_done(ended, collecting):
                yield trajectory
        finally:
            collecting.cancel()

    def make_ready(self) -> None:
        self._recipe: Recipe = recipe_of(yaml.safe_load(self._parts.recipe_yaml))
        check_machine(self._recipe)
        self._source = make_source(self._recipe)
        self._students = WorkerStudents(self._recipe, self._parts.moment)
        self._opening = asyncio.Lock()

    async def _student(self, asked: SentStudent | SentServed | Policy | None) -> tuple[Policy, TokenCounter]:
        if isinstance(asked, SentStudent):
            return await self._students.policy(asked)
        if isinstance(asked, SentServed):
            async with self._opening:
                if asked not in self._served:
                    opened = await asyncio.to_thread(asked.opened, self._recipe, self._parts.moment)
                    # Of other weights than those of now nothing is asked any more.
                    self._served = {**dict([*self._served.items()][-1:]), asked: opened}
                return self._served[asked]
        return _NOBODY if asked is None else asked, RoughTokenCounter()

    async def _opened_teacher(self) -> Policy:
        """One for all orders."""
        async with self._opening:
            if self._teacher is None:
                self._teacher = await asyncio.to_thread(self._open_teacher)
        return self._teacher

    def _open_teacher(self) -> Policy:
        assert self._source is not None
        teacher = make_teacher(
            self._recipe, expert=partial(expert_of, self._source), acts=True, moment=self._parts.moment
        )
        teacher.load()
        return teacher.policy()


async def _until_done(
    ended: asyncio.Queue[Trajectory], collecting: asyncio.Task[Any]
) -> AsyncIterator[Trajectory]:
    """What is put into the queue until `collecting` ends. Raises what it raises."""
    while True:
        getting = asyncio.ensure_future(ended.get())
        await asyncio.wait({getting, collecting}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            yield getting.result()
            continue
        getting.cancel()
        collecting.result()
        while not ended.empty():
            yield ended.get_nowait()
        return
