"""Tasks of a text world: task i of a split is a pure function of the settings, the split and i."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pydantic import Field

from turnmix.core.seed import derive_seed
from turnmix.core.task import Task
from turnmix.environments.drawn_tasks import DrawnTasks
from turnmix.environments.environment import Split, TaskSettings
from turnmix.environments.planner import planner_policy
from turnmix.environments.worlds.environment import WorldEnvironment
from turnmix.environments.worlds.game import Game
from turnmix.policies.scripted import ScriptedPolicy

SEEDS = 2**30
"""Half of the seeds that any library takes: the even ones are for training, the odd ones held out."""
_MOST_MAKERS = 32
"""Threads, most of which wait: for a processor, or for another that makes the same game."""
MakeGame = Callable[[str, int], Game]
"""A fresh play: of which game, by its name, and its seed."""


class WorldSettings(TaskSettings):
    """The tasks of a text world."""

    train: int = Field(default=4000, ge=1, le=1_000_000)
    """Number of training tasks."""
    holdout: int = Field(default=200, ge=1, le=100_000)
    """Number of holdout tasks, whose seeds no training task has."""
    seed: int = Field(default=0, ge=0)
    """Other seeds give other tasks."""
    max_turns: int = Field(default=64, ge=1)
    """Turns of one trajectory."""


class WorldTasks(DrawnTasks):
    """The tasks of one split. Of several games each has its turn."""

    def __init__(self, settings: WorldSettings, split: Split, games: Sequence[str]) -> None:
        super().__init__(
            settings.train if split == "train" else settings.holdout, partial(_task, settings, split, games)
        )


def _task(settings: WorldSettings, split: Split, games: Sequence[str], index: int) -> Task:
    game = games[index % len(games)]
    drawn = derive_seed(settings.source, game, settings.seed, split, index) % SEEDS
    seed = 2 * drawn + (split == "holdout")
    return Task(
        id=f"{game}-{settings.seed}-{split}-{index:05d}",
        problem_statement=f"{game}, seed {seed}",
        fields={"game": game, "seed": seed},
    )


class WorldSource:
    """Games of one library, each task a seed."""

    def __init__(
        self, settings: WorldSettings, *, games: Sequence[str], make_game: MakeGame, has_planner: bool
    ) -> None:
        self._settings = settings
        self._games = games
        self._make_game = make_game
        self._has_planner = has_planner
        # One thread: libraries are not asked to be safe beside themselves, and Python would run one at a time anyway.
        self._thread = ThreadPoolExecutor(1, "turnmix-world")
        self._makers = ThreadPoolExecutor(_MOST_MAKERS, "turnmix-world-maker")

    def tasks(self, split: Split) -> WorldTasks:
        return WorldTasks(self._settings, split, self._games)

    def environment(self, task: Task) -> WorldEnvironment:
        return WorldEnvironment(
            task,
            self._make_game(task.fields["game"], task.fields["seed"]),
            max_turns=self._settings.max_turns,
            thread=self._thread,
            makers=self._makers,
        )

    def expert(self) -> ScriptedPolicy | None:
        """Does what the world's planner says."""
        return planner_policy() if self._has_planner else None
