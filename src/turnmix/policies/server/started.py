"""The server that a run starts for its student: one program, port and key, in one process after the other.

In: settings, an engine, weights to begin with. Out: a server that answers, and is
certain to be the one that was started.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from turnmix.core.credentials import keep_secrets_of
from turnmix.core.errors import UserError
from turnmix.core.redaction import keep_secret
from turnmix.policies.server.engine import Engine, Weights
from turnmix.policies.server.port_owner import PortGuard, check_can_start
from turnmix.policies.server.process import ServerProcess, free_port
from turnmix.policies.server.program import find_program
from turnmix.policies.server.settings import ServerSettings


class StartedServer:
    """Made before the run; `choose_port` comes before the first start."""

    def __init__(self, settings: ServerSettings, engine: Engine) -> None:
        """Raises UserError: its program is not here."""
        self._settings = settings
        self._engine = engine
        self._program = find_program(settings)
        self.port: int | None = None
        self._process: ServerProcess | None = None
        self._guard: PortGuard | None = None
        self.key = _random_key() if engine.key_variable is not None else None
        """What it asks for, and nobody else knows; None: it asks for none."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def is_down(self) -> bool:
        return not (self._process and self._process.is_alive)

    @property
    def end(self) -> tuple[str, ...]:
        """How the last process ended, and the last lines of its log; nothing where there was none."""
        return () if self._process is None else self._process.end

    @property
    def pid(self) -> int | None:
        """The process above all that it started."""
        return None if self._process is None else self._process.pid

    def refusal(self) -> str | None:
        """Why nothing may be sent to it now."""
        return None if self._guard is None else self._guard.refusal()

    def choose_port(self) -> None:
        """Raises UserError: the one that is asked for is taken, or nobody could tell who listens there."""
        check_can_start()
        self.port = free_port(self._settings.port)

    def start(self, weights: Weights, *, log: Path, is_healthy: Callable[[], bool]) -> None:
        """Return once it answers. `is_healthy`: asked only where it is certain that it is the one that listens.

        Raises:
            UserError: its port is another's.
            InfrastructureError: it did not come up.
        """
        assert self.port is not None
        settings = self._settings
        command = self._engine.command(weights, port=self.port)
        key = {} if self.key is None else {str(self._engine.key_variable): self.key.get_secret_value()}
        keep_secrets_of({name: os.environ.get(name, "") for name in settings.inherited_environment})
        self._process = ServerProcess(
            [*self._program, *command, *settings.arguments],
            environment={**self._engine.environment, **settings.environment, **key},
            inherited=settings.inherited_environment,
            log=log,
        )
        self._guard = guard = PortGuard(self.port, root=self._process.pid)

        def answers() -> bool:
            if not guard.is_listened_to():
                return False
            if (refusal := guard.refusal()) is not None:
                raise UserError(
                    f"student.server.port: {refusal}: nothing was sent to it; name another port, or start the server "
                    "yourself and give student.server.endpoint"
                )
            return is_healthy()

        try:
            self._process.wait_until(answers, timeout=settings.start_timeout_seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it. Safe to call twice."""
        if self._process is not None:
            self._process.stop()
            self._process = None


def _random_key() -> SecretStr:
    key = secrets.token_urlsafe(32)
    keep_secret(key)
    return SecretStr(key)
