"""The seam between a rollout and whoever acts in it.

session = policy.begin(episode)
await session.look()                 # the environment is at rest: a privileged policy reads it now
action = await session.act(state)    # may run beside the environment's next step
await session.close()

A privileged policy, such as the expert of a world, also knows what `episode.privileged_view()` shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from turnmix.core.errors import UserError
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.core.usage import Usage


@runtime_checkable
class Inspectable(Protocol):
    """An environment that a privileged teacher may look into."""

    def privileged_view(self) -> Any:
        """What the world's expert looks at: a text world gives its hidden state, a repository its sandbox. A change of
        the world shows in it, or in the next view; a policy reads it in `look`, or in `act` before it first awaits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One trajectory about to be rolled out."""

    trajectory_id: str
    task: Task
    seed: int
    """Seeds everything a policy draws for this trajectory."""
    inspectable: Inspectable | None = None
    """The trajectory's environment, for a teacher alone, where it can be looked into."""
    cohort: str = ""
    """Trajectories of one cohort generate in lockstep, so that a batch never depends on timing."""
    turns_taken: int = 0
    """How many actions an earlier session of this policy gave in this trajectory: this one draws on where it was."""

    def privileged_view(self) -> Any:
        """What the environment shows a privileged teacher now. Raises UserError: it shows nothing."""
        if self.inspectable is None:
            raise UserError(
                f"task {self.task.id}: a privileged policy looks into the environment and is shown nothing: it must "
                "be the teacher, and the environment's class must have a method `privileged_view`"
            )
        return self.inspectable.privileged_view()


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


def counted_usage(session: object) -> Usage | None:
    """What a session has asked of a server so far, if it is `Metered`; else None. Looking at its type costs more than
    all the rest of counting, and is left out."""
    usage: Usage | None = getattr(session, "usage", None)
    return usage


class Policy(Protocol):
    """A student or a teacher."""

    name: str

    def begin(self, episode: Episode) -> PolicySession:
        """Open a session for one trajectory."""
        ...

    async def close(self) -> None:
        """Free what the policy holds."""
