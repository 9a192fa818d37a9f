"""A worker that runs tests of candidate tasks on patches, in sandboxes of its machine.

In: orders. Out: executions, as `execute_tests` gives them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from turnmix.cluster.cluster_worker import ClusterWorker
from turnmix.cluster.order import ExecutionOrder, ProcessParts
from turnmix.core.doors import check_settings
from turnmix.environments.repositories.archive.execution import Execution, executing
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.sandboxes.python_environment import find_python_environment
from turnmix.sandboxes.selection import BubblewrapSettings

_MOST_ARCHIVES = 2
"""In a worker's memory."""


class ExecutionWorker(ClusterWorker):
    """An actor."""

    works_at = "test runs"

    def __init__(self, parts: tuple[ProcessParts, str]) -> None:
        """`parts`: beside the process, the Python environment of the tests."""
        process, self._python = parts
        super().__init__(process)
        self._archives: dict[str, bytes] = {}

    async def execute(self, order: ExecutionOrder) -> AsyncIterator[Execution]:
        """What the tests come to: one execution.

        Raises:
            SandboxError: see `execute_tests`.
        """
        yield await self._execute(order.row, await self._archive(order), order.patch)

    def make_ready(self) -> None:
        sandbox = BubblewrapSettings()
        check_settings(sandbox)
        find_python_environment(self._python)
        self._execute = executing(partial(make_row_sandbox, sandbox.make))

    async def _archive(self, order: ExecutionOrder) -> bytes:
        archive: bytes = self._archives.pop(order.digest, b"") or await order.archive
        self._archives = {
            **dict([*self._archives.items()][-(_MOST_ARCHIVES - 1) :]),
            order.digest: archive,
        }
        return archive
