"""Any Gymnasium environment whose observations are text, or can be told as text, and whose actions are names or text.

In: an environment's name. Out: a task source; an episode's seed is its task.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from turnmix.core.doors import own_code
from turnmix.core.errors import UserError, first_line
from turnmix.core.finding import Finding
from turnmix.core.plugins import load_plugin, telling_faults
from turnmix.core.settings import NAMES
from turnmix.environments.environment import TaskParts
from turnmix.environments.planner import OwnExpert, asked_expert
from turnmix.environments.worlds.game import world_library
from turnmix.environments.worlds.gymnasium_game import GymnasiumGame, Planner, names_of
from turnmix.environments.worlds.source import WorldSettings, WorldSource

_HIGHLIGHT = re.compile(r"\x1b\[4\dm(.*?)\x1b\[0m")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class GymnasiumSettings(WorldSettings):
    """Tasks of a Gymnasium environment."""

    source: Literal["gymnasium"] = "gymnasium"
    environment: str = Field(min_length=1)
    """Its name, as gymnasium.make takes it: `FrozenLake-v1`, or `my_package:Mine-v0`, which imports
    my_package first."""
    options: Mapping[str, Any] = {}
    """Further arguments of gymnasium.make."""
    instructions: str = "You act in a world. Each turn, do one thing with act."
    """What the agent is told before everything else."""
    describe: str = "observation"
    """How an observation is told: observation, as it stands; ansi, what the environment renders as text, a highlighted
    place in brackets; or a function of your own from the observation and the environment to a text,
    package.module:Name."""
    actions: Annotated[tuple[str, ...], NAMES] = ()
    """Names of its discrete actions, in their order; those after the last are not offered. Left out: their numbers; a
    world of text takes any text of its space."""
    expert: OwnExpert = None
    """Who knows the way, package.module:Name: called with the environment when it has started, it returns a function
    that is asked once in each state: given the agent's last action by name (None at first), it returns the name of what
    to do now, or None where nothing helps."""
    resolved_above: float = 0.0
    """A task is resolved where its rewards add up to more than this."""

    @field_validator("describe")
    @classmethod
    def _is_there(cls, name: str, info: ValidationInfo) -> str:
        return name if name in ("observation", "ansi") else own_code(name, info, section="tasks")

    def check(self) -> list[Finding]:
        """Raises UserError: there is no such environment, or none that can be told and acted in by text."""
        library = world_library("gymnasium", source=self.source)
        try:
            if ":" in self.environment:
                importlib.import_module(self.environment.partition(":")[0])
            environment = library.make(self.environment, **self._arguments())
        except Exception as failed:
            raise UserError(
                f"tasks.environment: {self.environment!r}: gymnasium.make gives none by this name and tasks.options: "
                f"{first_line(failed)}"
            ) from failed
        try:
            names_of(environment.action_space, self.actions)
        finally:
            environment.close()
        return []

    def make(self, parts: TaskParts) -> WorldSource:
        library = world_library("gymnasium", source=self.source)

        def make_game(game: str, seed: int) -> GymnasiumGame:
            return GymnasiumGame(
                lambda: library.make(game, **self._arguments()),
                seed=seed,
                system=self.instructions,
                names=self.actions,
                describe=self._describe,
                planner=None if self.expert is None else self._planner,
                won_above=self.resolved_above,
            )

        return WorldSource(
            self, games=[self.environment], make_game=make_game, has_planner=self.expert is not None
        )

    def _arguments(self) -> dict[str, Any]:
        rendering = {"render_mode": "ansi"} if self.describe == "ansi" else {}
        return {"disable_env_checker": True, **rendering, **self.options}

    def _describe(self, observation: Any, environment: Any) -> str:
        if self.describe == "observation":
            return str(observation)
        if self.describe == "ansi":
            return _ESCAPE.sub("", _HIGHLIGHT.sub(r"[\1]", str(environment.render()))).strip()
        with telling_faults(self.describe):
            return str(load_plugin(self.describe, field="tasks.describe")(observation, environment))

    def _planner(self, environment: Any) -> Planner:
        return asked_expert(str(self.expert), environment, form=str)
