"""One inference server of the student, on the machine where Ray has room for it: an actor that starts and watches it.

In: a recipe, weights. Out: the student's actions. The server listens on its own machine alone, as one beside a command
does; what goes to other machines goes through Ray, and its key goes nowhere.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.assembly.served_student import load_served_student
from turnmix.assembly.server import SERVER_LOG, make_student_server
from turnmix.assembly.student import student_location
from turnmix.cluster.transfer import fetch_directory, sees
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.trajectory import Action, State
from turnmix.policies.endpoint.counters import EndpointCounters
from turnmix.recipe.recipe import Recipe

if TYPE_CHECKING:
    from turnmix.policies.server.engine import Weights
    from turnmix.policies.server.policy import ServerPolicy
    from turnmix.policies.server.student_server import StudentServer

LOG_BYTES = 1 << 16
"""Of a server's log that are told at one time."""


class ServerIsDown(InfrastructureError):
    """It has no weights yet, or none any more: another one is to be asked, or this one later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenWeights:
    """What a server is to act with, wherever it runs."""

    weights: Weights
    """As the command names them."""
    checkpoint: Path | None
    """Their directory in the run; None: they are the base model, which each machine has."""
    place: Path
    """A directory of the run, which holds the mark."""
    mark: str
    desk: Any
    """Who reads the checkpoint out to machines that do not see the run's directory."""
    logprobs: list[float] | None
    """Of the tokens of a probe, by these weights; None: the server is believed."""

    def here(self, local: Path) -> Weights:
        """As this machine names them; in `local` where it does not see the run."""
        if self.checkpoint is None or sees(self.place, self.mark):
            return self.weights
        fetch_directory(self.desk, local)
        moved = str(self.checkpoint.resolve())
        adapter = self.weights.adapter
        return replace(
            self.weights,
            location=self.weights.location.replace(moved, str(local)),
            adapter=None if adapter is None else adapter.replace(moved, str(local)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Of a server, since it was looked at before."""

    logged: bytes
    notes: tuple[str, ...]
    """What a person should know."""
    is_spent: bool
    """It died, and is not started again there."""


class ServerActor:
    """An actor's class, with an event loop. Only `act`, `look` and `close` may be asked for while another call is under
    way."""

    def __init__(self, recipe: Recipe, *, moment: datetime | None, is_tried: bool) -> None:
        """`moment`: what templates show as now. `is_tried`: its log-probabilities will be known of the student's."""
        self._recipe = recipe
        self._moment = moment
        self._is_tried = is_tried
        self._folder = Path(tempfile.mkdtemp(prefix="turnmix-server-"))
        self._log = self._folder / SERVER_LOG
        self._told = 0
        self._logprobs: list[float] = []
        self._notes: list[str] = []
        self._server: StudentServer | None = None
        self._policies: dict[bool, ServerPolicy] = {}
        self._held: list[Path] = []

    async def open(self, given: GivenWeights) -> str:
        """Start it with those weights, and try what the run needs of it; the machine's name.

        Raises:
            UserError, InfrastructureError: see `StudentServer.open`.
        """
        await asyncio.to_thread(self._open, given)
        return socket.gethostname()

    async def renew(self, given: GivenWeights) -> None:
        """Act with those weights from now on. No action may be under way."""
        server = self._running()
        self._policies.clear()
        await asyncio.to_thread(lambda: server.renew(self._here(given)))
        self._forget_older()
        self._remember_policies()

    async def act(self, state: State, seed: int, greedy: bool) -> tuple[Action, EndpointCounters]:
        """The student's action, and what it took.

        Raises:
            ServerIsDown: it holds no weights.
            InfrastructureError: it could not be asked.
        """
        policy = self._policies.get(greedy)
        if policy is None:
            raise ServerIsDown("the server has no weights yet")
        counters = EndpointCounters()
        return await policy.act(state, seed, counters), counters

    async def look(self) -> Seen:
        """A sign of life."""
        notes, self._notes = self._notes, []
        is_spent = self._server is not None and self._server.is_spent
        return Seen(logged=await asyncio.to_thread(self._new_log), notes=tuple(notes), is_spent=is_spent)

    async def close(self) -> None:
        """End the server, and leave nothing on this machine."""
        if self._server is not None:
            await asyncio.to_thread(self._server.close)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, given: GivenWeights) -> None:
        location = student_location(self._recipe.student)
        student = load_served_student(self._recipe, location=location, moment=self._moment)
        own_logprobs = (lambda prompt: self._logprobs) if self._is_tried else None
        server = make_student_server(self._recipe, replace(student, own_logprobs=own_logprobs))
        if server is None:
            raise UserError(
                "cluster.servers: student.server is left out: say which server, such as {engine: vllm}"
            )
        self._server = server
        server.open(self._here(given), log=self._log, say=self._notes.append)
        self._remember_policies()

    def _running(self) -> StudentServer:
        if self._server is None:
            raise ServerIsDown("the server was not started yet")
        return self._server

    def _here(self, given: GivenWeights) -> Weights:
        self._logprobs = given.logprobs or []
        local = self._folder / f"weights-{len(self._held)}"
        self._held.append(local)
        return given.here(local)

    def _forget_older(self) -> None:
        for path in self._held[:-1]:
            shutil.rmtree(path, ignore_errors=True)

    def _remember_policies(self) -> None:
        self._policies = {greedy: self._running().policy(greedy=greedy) for greedy in (False, True)}

    def _new_log(self) -> bytes:
        if not self._log.is_file():
            return b""
        with self._log.open("rb") as file:
            file.seek(self._told)
            found = file.read(LOG_BYTES)
        self._told += len(found)
        return found
