"""A server process: started, awaited, ended with all that it started, also when this process is killed.

In: a command, an environment, a log file. Out: a `ServerProcess`, or an error that shows the end of the log. The
program gets a list of this process's variables, not all of them; what it prints is logged without keys.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from turnmix.core.child_environment import child_environment
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.file_descriptors import given_limit
from turnmix.core.own_file import open_own
from turnmix.core.printable import printable_line
from turnmix.core.redaction import redacted_bytes
from turnmix.policies.server import watchdog

_TAIL_LINES = 15
_TAIL_BYTES = 16384
_POLL_SECONDS = 0.2
_LOG_SECONDS = 5.0
"""For the last of a log, once its server has ended."""
_LONGEST_LINE = 1 << 20
_GIVEN_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PORTS, _PORTS_TRIED = range(20_000, 30_000), 100
"""Above those that Ray gives its workers, below those that Kubernetes gives its nodes."""

_LEARNERS = frozenset({"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"})
"""How memory is laid out for learning: in segments that grow, which a server of several cards cannot share between its
processes."""


def _named(names: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in child_environment(names).items() if name in names}


class ServerProcess:
    """One running server, under a watchdog process whose standard input this process holds open."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        inherited: Sequence[str] = (),
    ) -> None:
        """Start it; what it prints is appended to `log`. `inherited`: names of variables of this process that it gets
        beside those of `child_environment` and `environment`."""
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        output = open_own(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            own = {name: value for name, value in child_environment().items() if name not in _LEARNERS}
            self._process = self._launched(command, {**own, **_named(inherited), **environment})
        except BaseException:
            os.close(output)
            raise
        assert self._process.stdout is not None
        self._writing = threading.Thread(
            target=_write_log, args=(self._process.stdout, output), name="server log", daemon=True
        )
        self._writing.start()

    def _launched(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, str(given_limit()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process above all that the server started."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def end(self) -> tuple[str, ...]:
        """How it ended, and the last lines of its log."""
        status = self._process.poll()
        if status is not None:
            self._writing.join(timeout=_LOG_SECONDS)
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
        self._writing.join(timeout=_LOG_SECONDS)


def _write_log(printed: IO[bytes], descriptor: int) -> None:
    """Append what is printed, a line at a time, so that no key is cut in two where it is looked for."""
    with printed, open(descriptor, "ab", buffering=0) as log:
        rest = b""
        while part := printed.read1(_TAIL_BYTES):  # type: ignore[attr-defined]
            whole = rest + part
            end = (
                max(whole.rfind(b"\n"), whole.rfind(b"\r")) + 1 if len(whole) < _LONGEST_LINE else len(whole)
            )
            log.write(redacted_bytes(whole[:end]))
            rest = whole[end:]
        log.write(redacted_bytes(rest))


def log_tail(log: Path) -> list[str]:
    """The last lines of a log, indented."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [f"  {printable_line(line)}" for line in lines[-_TAIL_LINES:]]


def free_port(wanted: int | None) -> int:
    """`wanted`, or a port of this machine that is free, and stays so until a server listens there.

    Raises:
        UserError: something listens there already, which would answer in the server's place.
    """
    if wanted is None:
        for port in _given_to_nobody():
            with contextlib.suppress(OSError):
                return _bound(port)
    try:
        return _bound(wanted or 0)
    except OSError as error:
        raise UserError(
            f"student.server.port: {wanted}: {error.strerror}; name another, or leave it out for a free one"
        ) from error


def _given_to_nobody() -> list[int]:
    """Some of the ports that the kernel gives to no connection: a server takes seconds until it listens, and many a
    connection is made meanwhile."""
    try:
        lowest = int(_GIVEN_PORTS.read_text().split()[0])
    except (OSError, ValueError):
        return []
    ports = range(_PORTS.start, min(_PORTS.stop, lowest))
    return random.SystemRandom().sample(ports, min(len(ports), _PORTS_TRIED))


def _bound(port: int) -> int:
    """The port, which can be listened to. Raises OSError: it cannot."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return int(listener.getsockname()[1])
