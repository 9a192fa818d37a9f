"""The seam between a rollout and an accident: an action of nobody's, executed once in a trajectory.

In: an episode, into which an accident may look as a privileged teacher does, and its state. Out: what happens, or that
it cannot happen here.

    >>> slip = ScriptedAccident("slip", lambda episode, state: None)
    >>> slip.name
    'slip'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from turnmix.core.trajectory import Action, State
from turnmix.policies.policy import Episode


class AccidentSession(Protocol):
    """An accident in one trajectory."""

    async def look(self) -> None:
        """Read the environment, which rests until `act` has returned."""

    async def act(self, state: State) -> Action | None:
        """What happens in `state`; None: it cannot happen here, and is tried again in the next turn.

        Raises:
            InfrastructureError: the environment could not be read.
        """
        ...

    async def close(self) -> None:
        """Free what the session holds. Safe to call twice."""


class AccidentPolicy(Protocol):
    """One kind of accident. It holds nothing between trajectories."""

    name: str

    def begin(self, episode: Episode) -> AccidentSession:
        """Open a session for one trajectory. What it draws is seeded by the episode, whose seed is the task's."""
        ...


class ScriptedAccident:
    """What `script` says happens, or None where it cannot; whatever `script` raises, `act` raises."""

    def __init__(self, name: str, script: Callable[[Episode, State], Action | None]) -> None:
        self.name = name
        self._script = script

    def begin(self, episode: Episode) -> AccidentSession:
        return _ScriptedAccidentSession(episode, self._script)


class _ScriptedAccidentSession:
    def __init__(self, episode: Episode, script: Callable[[Episode, State], Action | None]) -> None:
        self._episode = episode
        self._script = script

    async def look(self) -> None:
        """A script looks while it is asked."""

    async def act(self, state: State) -> Action | None:
        return self._script(self._episode, state)

    async def close(self) -> None:
        """Nothing is held."""
