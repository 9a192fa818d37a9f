"""Processes that make TextWorld's games, kept warm: what they read first takes as long as a game.

In: an order, and a directory for the game. Out: the game there. One process makes one game at a time, and as many are
made at once as there are processors. They end with the process that asked, however it ends, or when they have nothing
to do.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnmix.core.child_environment import child_environment
from turnmix.core.errors import InfrastructureError
from turnmix.core.json_text import json_text, json_value

MOST_SECONDS = 600.0
"""Of one game, also where the machine is busy."""
_MAKER = (
    "import sys; sys.path[:] = sys.argv.pop(1).splitlines(); "
    "from turnmix.environments.worlds.textworld_making import main; main()"
)
_processors = threading.Semaphore(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
_idle: list[subprocess.Popen[bytes]] = []


def make_game(order: Mapping[str, Any], work: Path) -> None:
    """Returns when the game lies in `work`. Raises InfrastructureError: there is no such game, or it took too long."""
    line = json_text({"order": dict(order), "work": str(work)})
    with _processors:
        failure = _answered(line)
        if failure is None:  # one that had nothing to do for long ended as it was asked
            shutil.rmtree(work)
            work.mkdir()
            failure = _answered(line, is_new=True)
    if failure is None:
        raise InfrastructureError("the process that makes TextWorld's games ended without an answer")
    if failure:
        raise InfrastructureError(f"TextWorld made no game of {dict(order)}: {failure}")


def _answered(line: str, *, is_new: bool = False) -> str | None:
    """What went wrong, in a line; empty: nothing; None: the maker ended without an answer."""
    maker = _begun() if is_new else _taken()
    try:
        failure = _asked(maker, line)
    except BaseException:
        _end(maker)
        raise
    if failure is None:
        _end(maker)
    else:
        _idle.append(maker)
    return failure


def _taken() -> subprocess.Popen[bytes]:
    with contextlib.suppress(IndexError):  # `pop` is one step: no other thread gets the same
        while True:
            maker = _idle.pop()
            if maker.poll() is None:
                return maker
            _end(maker)
    return _begun()


def _begun() -> subprocess.Popen[bytes]:
    paths = "\n".join(os.path.abspath(path) for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", _MAKER, paths],
        cwd="/",
        # In what order a set is gone through is part of a game.
        env={**child_environment(), "PYTHONHASHSEED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _asked(maker: subprocess.Popen[bytes], line: str) -> str | None:
    """As `_answered`. Raises InfrastructureError: it takes too long."""
    assert maker.stdin is not None
    assert maker.stdout is not None
    try:
        maker.stdin.write(f"{line}\n".encode())
        maker.stdin.flush()
        if not select.select([maker.stdout], [], [], MOST_SECONDS)[0]:
            raise InfrastructureError(f"TextWorld made no game within {MOST_SECONDS:.0f} seconds")
        return str(json_value(maker.stdout.readline()))
    except (OSError, ValueError):
        return None


def _end(maker: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(maker.pid, signal.SIGKILL)
    with contextlib.suppress(OSError), maker:
        """Its pipes are closed, and it is waited for."""


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())


# They answer the process that started them.
os.register_at_fork(after_in_child=_idle.clear)
