"""What a text world is made of: a game, which answers each act with a scene.

Nothing here is asynchronous: `WorldEnvironment` asks a game outside of the event loop, one call at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from turnmix.environments.optional_library import optional_library


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a game shows."""

    text: str
    reward: float = 0.0
    """Of the act that led here."""
    is_over: bool = False
    """The game takes no more acts."""
    is_out_of_time: bool = False
    """It is over because the game allows no more acts."""
    plan: str | None = None
    """What its planner would do now. None: there is no planner, or it finds no way to win from here."""
    acts: tuple[str, ...] = ()
    """What can be done now, of a game whose acts are texts and that tells. No agent is shown it."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For the verdict, where it is the last."""


class Game(Protocol):
    """One play of a world, from its start."""

    system: str
    """What the agent is told before everything else."""
    acts: tuple[str, ...]
    """All that can be done, by name; none: an act is a text. Known after `start`."""
    has_planner: bool
    gives_up: str | None
    """The act by which an agent ends a game that it cannot win any more, where there is one."""

    def prepare(self) -> None:
        """Make what takes long, beside other games. Called once, before `start`."""
        ...

    def start(self) -> Scene:
        """The first scene, which says what is to be achieved."""
        ...

    def takes(self, act: str) -> bool:
        """Is that an act, whatever it leads to?"""
        ...

    def act(self, act: str) -> Scene:
        """Do what it takes. Not called after a scene that is over."""
        ...

    def is_won(self, reward: float) -> bool:
        """Is the task resolved, where all acts together were worth `reward`?"""
        ...

    def close(self) -> None:
        """Free what it holds. Safe to call twice, and before `start`."""


def world_library(name: str, *, source: str) -> ModuleType:
    """A module of an optional library. Raises MissingDependencyError."""
    return optional_library(name, source=source, extra="worlds")
