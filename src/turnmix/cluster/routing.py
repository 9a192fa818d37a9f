"""The student as it acts through servers elsewhere: a trajectory stays with one of them, for what it has cached.

In: the names of their actors. Out: a policy, for the command and for workers. Where a server is lost, its trajectories
go on with another one: a draw follows from seed and state alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.cluster.server_actor import ServerIsDown
from turnmix.core.errors import InfrastructureError
from turnmix.core.trajectory import Action, State
from turnmix.core.usage import Usage
from turnmix.policies.endpoint.counters import EndpointCounters
from turnmix.policies.endpoint.wire import request_seed
from turnmix.policies.policy import Episode

_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where a run's servers are found, by any process of its cluster."""

    names: tuple[str, ...]
    namespace: str
    patience: float
    """Seconds in which one that was lost is replaced, at most."""

    def in_order(self, trajectory_id: str) -> Sequence[str]:
        """The names, the trajectory's own server first: rendezvous hashing, by which a lost server's trajectories alone
        move.

        >>> servers = Servers(names=("a", "b", "c"), namespace="", patience=1.0)
        >>> sorted({servers.in_order(f"i001-{number}")[0] for number in range(9)})
        ['a', 'b', 'c']
        """
        return sorted(
            self.names, key=lambda name: hashlib.sha256(f"{trajectory_id} {name}".encode()).digest()
        )


class RoutedPolicy:
    """The student as its servers' weights now are, acting. Its sessions hold nothing."""

    name = "student"

    def __init__(
        self, servers: Servers, *, greedy: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._servers = servers
        self._greedy = greedy
        self._clock = clock
        self._handles: dict[str, Any] = {}

    def begin(self, episode: Episode) -> RoutedSession:
        return RoutedSession(self, episode)

    async def close(self) -> None:
        """Nothing is held."""

    async def act(self, trajectory_id: str, state: State, seed: int) -> tuple[Action, EndpointCounters]:
        """The action of the first server in the trajectory's order that is up.

        Raises:
            InfrastructureError: none came up, or one that is up could not be asked.
        """
        from ray.exceptions import RayActorError, RayTaskError

        deadline = self._clock() + self._servers.patience
        while True:
            for name in self._servers.in_order(trajectory_id):
                try:
                    found: tuple[Action, EndpointCounters] = await self._handle(name).act.remote(
                        state, seed, self._greedy
                    )
                    return found
                except (RayActorError, ValueError):  # it is gone; no actor of that name
                    self._handles.pop(name, None)
                except RayTaskError as error:
                    if not isinstance(error.cause, ServerIsDown):
                        raise error.cause from None
            if self._clock() > deadline:
                raise InfrastructureError(
                    f"student.server: none of the {len(self._servers.names)} servers came up within "
                    f"{self._servers.patience:g} s"
                )
            await asyncio.sleep(_PAUSE_SECONDS)

    def _handle(self, name: str) -> Any:
        import ray

        if name not in self._handles:
            self._handles[name] = ray.get_actor(name, namespace=self._servers.namespace)
        return self._handles[name]


class RoutedSession:
    """The student in one trajectory. The whole conversation goes with every request."""

    def __init__(self, policy: RoutedPolicy, episode: Episode) -> None:
        self._policy = policy
        self._trajectory_id = episode.trajectory_id
        self._seed = episode.seed
        self._usage = Usage()

    @property
    def usage(self) -> Usage:
        return self._usage

    async def look(self) -> None:
        """The student sees the messages alone."""

    async def act(self, state: State) -> Action:
        action, counters = await self._policy.act(self._trajectory_id, state, request_seed(self._seed, state))
        self._usage += counters.usage
        return action

    async def close(self) -> None:
        """Nothing is held."""
