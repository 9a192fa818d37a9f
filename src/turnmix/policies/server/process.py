"""A server process: started, awaited, ended with all that it started, also when this process is killed.

In: a command, an environment, a log file. Out: a `ServerProcess`, or an error that shows the end of the log.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.own_file import open_own
from turnmix.core.printable import printable_line
from turnmix.policies.server import watchdog

_TAIL_LINES = 15
_TAIL_BYTES = 16384
_POLL_SECONDS = 0.2


class ServerProcess:
    """One running server, under a watchdog process whose standard input this process holds open."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        """Start it; what it prints is appended to `log`."""
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def end(self) -> tuple[str, ...]:
        """How it ended, and the last lines of its log."""
        status = self._process.poll()
        return (f"exit status {status}; the end of {self._log}:", *log_tail(self._log))

    def wait_until(self, answers: Callable[[], bool], *, timeout: float) -> None:
        """Return once the server answers.

        Raises:
            InfrastructureError: it ended first, or did not answer in time.
        """
        deadline = time.monotonic() + timeout
        while not answers():
            if not self.is_alive:
                status, *log = self.end
                raise InfrastructureError(f"the student's server did not come up: {status}", *log)
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"the student's server did not answer within {timeout:g} s "
                    "(student.server.start_timeout_seconds); the end of "
                    f"{self._log}:",
                    *log_tail(self._log),
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End it with all that it started. Safe to call twice."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=watchdog.GRACE_SECONDS + 10)
        except subprocess.TimeoutExpired:
            # The server itself dies with its watchdog.
            self._process.kill()
            self._process.wait()


def log_tail(log: Path) -> list[str]:
    """The last lines of a log, indented."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [f"  {printable_line(line)}" for line in lines[-_TAIL_LINES:]]


def free_port(wanted: int | None) -> int:
    """`wanted`, or a free port of this machine.

    Raises:
        UserError: something listens there already, which would answer in the server's place.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise UserError(
                f"student.server.port: {wanted}: {error.strerror}; name another, or leave it out for a free one"
            ) from error
        return int(listener.getsockname()[1])
