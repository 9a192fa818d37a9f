"""`turnmix` commands as processes of their own, which end with the one that asked for them.

In: a command's words, and where its output goes. Out: a `ChildCommand`, to be asked whether it has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from turnmix.running import command_child

STOP_SECONDS = 30.0
"""A command that is asked to stop has so long to store what is under way."""
THREADS = "OMP_NUM_THREADS"


class ChildCommand:
    """One that runs."""

    def __init__(self, words: Sequence[str], *, output: int) -> None:
        """`output`: a descriptor, of which the command gets a copy. Raises OSError: it cannot be started."""
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-I", command_child.__file__, os.pathsep.join(sys.path), *words],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # It is TurnMix itself, with the same rights and keys; several of them share the processors.
            env={THREADS: "1", **os.environ},
            # Ctrl-C in a terminal reaches the sweep alone, which stops them in order.
            start_new_session=True,
        )

    def status(self) -> int | None:
        """The exit status; None: it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Has it ended by then?"""
        try:
            self._process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """With all that is in its session still."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def stop_all(children: Iterable[ChildCommand]) -> None:
    """Ask all to stop, and wait; what does not, or when one is interrupted again, is killed."""
    running = [child for child in children if child.status() is None]
    for child in running:
        child.ask_to_stop()
    deadline = time.monotonic() + STOP_SECONDS
    try:
        for child in running:
            child.wait(deadline - time.monotonic())
    finally:
        for child in running:
            if child.status() is None:
                child.kill()
            child.close()
