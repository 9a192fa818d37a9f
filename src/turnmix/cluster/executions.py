"""Tests of candidate tasks, run on the workers of a cluster in place of this process.

In: a cluster's section. Out: what the making of tasks takes for its sandboxes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from turnmix.cluster.connection import connected
from turnmix.cluster.counts import NodeCounts
from turnmix.cluster.execution_worker import ExecutionWorker
from turnmix.cluster.order import ExecutionOrder, ProcessParts
from turnmix.cluster.settings import ClusterSettings, check_ray_installed
from turnmix.cluster.workers import Workers
from turnmix.environments.repositories.archive.execution import ExecuteTests, Execution
from turnmix.environments.repositories.task_file import TaskRow

_MOST_ARCHIVES = 2
"""Held in Ray's store; what is under way holds its own."""


class _Executions:
    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._archives: dict[str, Any] = {}

    async def execute(self, row: TaskRow, archive: bytes, patch: bytes) -> Execution:
        import ray

        digest = hashlib.sha256(archive).hexdigest()
        reference = self._archives.pop(digest, None) or ray.put(archive)
        self._archives = {**dict([*self._archives.items()][-(_MOST_ARCHIVES - 1) :]), digest: reference}
        order = ExecutionOrder(row=row, digest=digest, archive=reference, patch=patch)
        found: list[Execution] = []

        async def keep(execution: Execution) -> None:
            found.append(execution)

        await self._workers.do([order], keep=keep, is_first=True)
        return found[0]


@contextmanager
def cluster_executions(
    settings: ClusterSettings, *, name: str, python: str, concurrency: int, say: Callable[[str], None]
) -> Iterator[ExecuteTests]:
    """Inside, tests run on workers, `concurrency` at a time on each. `name`: by which Ray's dashboard shows them;
    `python`: the tests' environment, on each machine; `say` is told of what is lost.

    Raises:
        MissingDependencyError: Ray is not installed.
        UserError: there is no such cluster.
    """
    check_ray_installed()
    with (
        connected(settings, run=name),
        Workers(
            ExecutionWorker,
            (ProcessParts.here(), python),
            settings,
            run=name,
            concurrency=concurrency,
            counts=NodeCounts(None),
            say=say,
        ) as workers,
    ):
        yield _Executions(workers).execute
