"""The seam between a rollout and whoever acts in it.

session = policy.begin(episode)
await session.look()                 # the environment is at rest: a privileged policy reads it now
action = await session.act(state)    # may run beside the environment's next step
await session.close()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.core.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One trajectory about to be rolled out."""

    trajectory_id: str
    task: Task
    seed: int
    """Seeds everything a policy draws for this trajectory."""
    environment: Any = None
    """The trajectory's environment, for a privileged policy alone."""
    cohort: str = ""
    """Trajectories of one cohort generate in lockstep, so that a batch never depends on timing."""


class PolicySession(Protocol):
    """One policy in one trajectory."""

    async def look(self) -> None:
        """Read the environment, which rests until this returns. Policies that see only messages do nothing."""

    async def act(self, state: State) -> Action:
        """The policy's action in `state`.

        Raises:
            InfrastructureError: the policy could not be asked.
        """
        ...

    async def close(self) -> None:
        """Free what the session holds. Safe to call twice."""


@runtime_checkable
class Metered(Protocol):
    """A session that counts what it asks of a server."""

    @property
    def usage(self) -> Usage:
        """So far."""
        ...


class Policy(Protocol):
    """A student or a teacher."""

    name: str

    def begin(self, episode: Episode) -> PolicySession:
        """Open a session for one trajectory."""
        ...

    async def close(self) -> None:
        """Free what the policy holds."""
