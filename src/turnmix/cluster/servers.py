"""The student's servers in a run on a cluster: placed by Ray, watched, replaced, renewed after each iteration.

In: a recipe whose `cluster.servers` is not 0, weights. Out: policies that act through them. It does for several servers
what `StudentServer` does for one, and each of them is one of those, in an actor.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.assembly.served_student import ServedStudent
from turnmix.cluster.placed_server import PlacedServer
from turnmix.cluster.placement import beside_this
from turnmix.cluster.routing import RoutedPolicy, Servers
from turnmix.cluster.server_actor import GivenWeights, ServerActor
from turnmix.cluster.transfer import MARK, MOVING, DirectoryDesk
from turnmix.core.errors import UserError
from turnmix.policies.server.card import width
from turnmix.recipe.recipe import Recipe
from turnmix.rendering import probe
from turnmix.training.checkpoint_files import LEARNER_FILE

if TYPE_CHECKING:
    from turnmix.policies.server.engine import Weights

SERVED = ".served"
"""In a run's directory, while its student is served: by it a process elsewhere knows the directory."""


def servers_of(recipe: Recipe, *, run: str, namespace: str) -> Servers:
    """Where the servers of a run are found, whose directory is called `run`."""
    assert recipe.cluster is not None
    assert recipe.student.server is not None
    return Servers(
        names=tuple(f"turnmix-{run}-server-{number}" for number in range(recipe.cluster.servers)),
        namespace=namespace,
        patience=2 * recipe.student.server.start_timeout_seconds,
    )


class PlacedServers:
    """Made before the run, opened, closed at its end. It speaks for all servers as `StudentServer` does for one."""

    def __init__(self, recipe: Recipe, student: ServedStudent, *, run: Path, moment: datetime | None) -> None:
        """`run`: its directory. `moment`: what templates show as now. Each server loads the student itself; those of
        its log-probabilities that `student` tells it is held to.

        Raises:
            UserError: there is no server for Ray to place.
        """
        settings = recipe.student.server
        assert recipe.cluster is not None
        if settings is None or settings.endpoint is not None:
            raise UserError(
                f"cluster.servers: {recipe.cluster.servers}: Ray places servers that TurnMix starts: say which in "
                "student.server, without endpoint, or leave cluster.servers out"
            )
        self._recipe = recipe
        self._cluster = recipe.cluster
        self._gpus = gpus_of_server(recipe)
        self.takes_many_requests = settings.engine != "transformers"
        self._run = run
        self._moment = moment
        self._own_logprobs = student.own_logprobs
        self._probe = student.renderer.prompt_ids(probe.AFTER_TWO_ANSWERS)
        self._given: GivenWeights | None = None
        self._placed: list[PlacedServer] = []

    def open(self, weights: Weights, *, log: Path, say: Callable[[str], None] = lambda line: None) -> None:
        """Place all of them, with the student's weights; each is tried as `StudentServer.open` does. What they print
        goes beside `log`, a file each.

        Raises:
            UserError: one line for each thing that one of them lacks.
            InfrastructureError: one did not come up.
        """
        place = self._run / SERVED
        if place.is_symlink():  # somebody else's run: what it points at is not to be written or deleted
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / MARK).write_text(secrets.token_hex(8))
        self._given = self._told(weights)
        names = self._servers.names
        say(f"student's servers: placing {len(names)}; they log to {log.stem}-0{log.suffix} and so on")
        self._placed = [
            PlacedServer(
                name,
                make=lambda name=name: self._actor(name),  # type: ignore[misc]
                given=self._now_given,
                log=log.with_name(f"{log.stem}-{number}{log.suffix}"),
                say=say,
                heartbeat=self._cluster.heartbeat_seconds,
                most_failures=self._cluster.worker_failures,
            )
            for number, name in enumerate(names)
        ]
        for server in self._placed:
            server.begin_opening()
        problems = [problem for server in self._placed if (problem := server.end_opening()) is not None]
        if problems:
            raise problems[0]

    def renew(self, weights: Weights) -> None:
        """Have all act with `weights` from now on. No action may be under way. One that is lost meanwhile comes up with
        them.

        Raises:
            RenewalError: one that is up did not take them.
        """
        self._given = self._told(weights)
        with contextlib.ExitStack() as all_at_once:
            for server in self._placed:
                all_at_once.enter_context(server.renewing())

    def policy(self, *, greedy: bool) -> RoutedPolicy:
        """The student as its weights now are, acting."""
        return RoutedPolicy(self._servers, greedy=greedy)

    def close(self) -> None:
        """End them. Safe to call twice."""
        for server in self._placed:
            server.close()
        self._placed = []
        shutil.rmtree(self._run / SERVED, ignore_errors=True)

    @property
    def _servers(self) -> Servers:
        import ray

        namespace = ray.get_runtime_context().namespace
        return servers_of(self._recipe, run=self._run.name, namespace=namespace)

    def _now_given(self) -> GivenWeights:
        assert self._given is not None
        return self._given

    def _actor(self, name: str) -> Any:
        import ray

        return (
            ray.remote(num_cpus=0, num_gpus=self._gpus, memory=1)(ServerActor)
            .options(name=name, scheduling_strategy="SPREAD")
            .remote(self._recipe, moment=self._moment, is_tried=self._own_logprobs is not None)
        )

    def _told(self, weights: Weights) -> GivenWeights:
        place = (self._run / SERVED).absolute()
        location = Path(weights.location)
        is_of_run = weights.location != weights.base and location.is_dir()
        desk = None
        if is_of_run:
            desk = beside_this(DirectoryDesk, concurrency_groups={MOVING: 4}).remote(
                source=location, without=(LEARNER_FILE,)
            )
        own = self._own_logprobs
        return GivenWeights(
            weights=weights,
            checkpoint=location if is_of_run else None,
            place=place,
            mark=(place / MARK).read_text(),
            desk=desk,
            logprobs=None if own is None else list(own(self._probe)),
        )


def gpus_of_server(recipe: Recipe) -> int:
    """How many one server takes."""
    settings = recipe.student.server
    if settings is None:
        return 0
    if settings.engine == "vllm":
        return width(settings.arguments)
    return int(recipe.student.device.startswith("cuda"))
