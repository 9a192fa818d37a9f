"""This process as the driver of a Ray cluster, for as long as a command needs one.

In: a recipe's section. Out: a connection, inside a context. What was begun with it ends with it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator

from turnmix.cluster.settings import AUTO, LOCAL, ClusterSettings
from turnmix.core.errors import UserError, first_line


@contextlib.contextmanager
def connected(settings: ClusterSettings | None, *, run: str) -> Iterator[None]:
    """Inside, Ray may be asked, and what is begun has a namespace of the run's. A connection that this process has
    already is used, and stays. None: nothing is asked of Ray.

    Raises:
        UserError: there is no such cluster, or one of another version of Ray or Python.
    """
    if settings is None:
        yield
        return
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quietly = {"namespace": namespace_of(run), "log_to_driver": False, "logging_level": logging.ERROR}
    with _signals_kept():
        try:
            _check_answers(settings.address)
            if settings.address == LOCAL:
                ray.init(
                    address=LOCAL,
                    num_cpus=_cpus(settings),
                    include_dashboard=settings.learners > 0,  # which Ray Train asks
                    **_LOCAL_ONLY,
                    **quietly,
                )
            else:
                ray.init(address=settings.address, **quietly)
        except Exception as error:  # of a machine that is too busy Ray raises a bare one
            ray.shutdown()
            raise UserError(
                f"cluster.address: {settings.address!r}: no Ray cluster can be joined there ({first_line(error)}): "
                "start one with `ray start --head`, or set cluster.address=local to try the recipe on this machine"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def namespace_of(run: str) -> str:
    """Where the actors of a run have their names: apart from those of every other one, also of the same name, and of
    the same one before it was killed."""
    return f"turnmix-{run}-{secrets.token_hex(4)}"


def _check_answers(address: str) -> None:
    """Ray itself tries an unreachable head for two minutes. Raises OSError: nothing takes connections there."""
    if address not in (AUTO, LOCAL):
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()


_SECONDS_TO_ANSWER = 10.0

_LOCAL_ONLY = {"object_store_memory": 1 << 30}
"""Bytes; Ray would take a share of the machine's memory, and what is more goes to the disk."""


def _cpus(settings: ClusterSettings) -> int:
    """Cores that Ray is to count with on a machine that pretends to be a cluster: as many as are asked for."""
    workers = settings.rollout_workers * settings.cpus_per_worker
    return max(os.cpu_count() or 1, math.ceil(workers) + settings.learners + settings.servers)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes over how a process is asked to end."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if is_main and handler is not None:
                signal.signal(number, handler)
