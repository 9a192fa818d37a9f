"""What every worker of a cluster is: an actor whose process is made like the driver's, which says that it lives, and
ends with its machine's part of Ray.

In: where the driver works. Out: signs of life, with what was logged.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import ClassVar

from turnmix.cluster.order import ProcessParts, Whereabouts

LOG_PIECE = 1 << 16
"""Bytes of its log that a sign of life takes along."""
_SET_PARENT_DEATH_SIGNAL = 1


class ClusterWorker:
    """An actor's class: each kind of worker is one."""

    works_at: ClassVar[str]
    """What it has under way, for a person."""

    def __init__(self, process: ProcessParts) -> None:
        self._process = process

    async def whereabouts(self) -> Whereabouts:
        """Where Ray has begun it."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Whereabouts(node=node, name=f"{socket.gethostname()}-{node[:8]}")

    async def prepare(self) -> None:
        """Make ready for orders.

        Raises:
            TurnMixError: this machine lacks something that is needed.
        """
        await asyncio.to_thread(self._prepare)

    async def alive(self, position: int) -> bytes:
        """A sign of life: what was logged after `position`."""
        return await asyncio.to_thread(_logged, position)

    def make_ready(self) -> None:
        """What its kind of worker needs, in a thread. Raises TurnMixError: this machine lacks it."""
        raise NotImplementedError

    def _prepare(self) -> None:
        # When its machine's part of Ray is gone nobody else would end this process, nor its sandboxes.
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if Path(self._process.directory).is_dir():
            os.chdir(self._process.directory)
        sys.path.extend(each for each in self._process.import_path if each not in sys.path)
        self.make_ready()


def _logged(position: int) -> bytes:
    """Ray has a worker write both of its streams to files: a piece of the one that errors go to."""
    try:
        with Path("/proc/self/fd/2").resolve().open("rb") as file:
            file.seek(position)
            return file.read(LOG_PIECE)
    except OSError:
        return b""
