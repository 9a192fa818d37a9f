"""BabyAI (PyPI minigrid): an agent walks in a grid of rooms and does what it is told; its bot is the expert.

In: names of levels. Out: a task source; a level's seed is a task.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.settings import NAMES
from turnmix.environments.environment import TaskParts
from turnmix.environments.worlds.babyai_bot import ACTIONS, Bot
from turnmix.environments.worlds.babyai_text import described
from turnmix.environments.worlds.game import world_library
from turnmix.environments.worlds.gymnasium_game import GymnasiumGame
from turnmix.environments.worlds.source import WorldSettings, WorldSource

GIVES_UP = "done"
SYSTEM = (
    "You walk in a grid of rooms and see what lies before you, up to walls and closed doors. Each turn, take one step "
    "with act: turn left, turn right, go forward, pick up or drop what you carry before you, toggle a door or a box "
    "before you. The task ends by itself when it is achieved; done gives up one that cannot be achieved any more."
)


class BabyAISettings(WorldSettings):
    """Tasks of BabyAI."""

    source: Literal["babyai"] = "babyai"
    levels: Annotated[tuple[str, ...], NAMES] = Field(default=("BabyAI-GoToLocal-v0",), min_length=1)
    """Names of levels, such as BabyAI-UnlockPickup-v0; of several, each has its turn among the tasks."""

    def check(self) -> Iterable[Finding]:
        """Raises UserError: there is no such level, or no BabyAI."""
        world_library("minigrid", source=self.source)
        known = sorted(
            name
            for name in world_library("gymnasium", source=self.source).registry
            if name.startswith("BabyAI-")
        )
        if wrong := [level for level in self.levels if level not in known]:
            raise UserError(f"tasks.levels: {wrong[0]!r}: there is no such level: give of {', '.join(known)}")
        return ()

    def make(self, parts: TaskParts) -> WorldSource:
        self.check()
        # A level that is drawn again says so on standard output, which is TurnMix's.
        drawing = world_library("minigrid.envs.babyai.core.roomgrid_level", source=self.source)
        vars(drawing)["print"] = _say_nothing
        return WorldSource(self, games=self.levels, make_game=_game, has_planner=True)


def _game(level: str, seed: int) -> GymnasiumGame:
    import gymnasium

    def make_environment() -> Any:
        return gymnasium.make(level, disable_env_checker=True)

    return GymnasiumGame(
        make_environment,
        seed=seed,
        system=SYSTEM,
        names=ACTIONS,
        describe=described,
        planner=Bot,
        gives_up=GIVES_UP,
    )


def _say_nothing(*said: Any) -> None:
    """In place of `print`."""
