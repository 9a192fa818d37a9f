"""One episode of a Gymnasium environment as a game of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnmix.core.errors import UserError
from turnmix.environments.worlds.game import Scene

Planner = Callable[[str | None], str | None]
"""Asked once in each state: given the agent's last action, by name, what to do now; None: nothing helps."""
Describe = Callable[[Any, Any], str]
"""An observation and its environment as text."""


def names_of(space: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of all actions of a space; of one of texts none. Raises UserError: they have none, or are told wrongly."""
    kind = type(space).__name__
    if kind == "Text" and not names:
        return ()
    if kind != "Discrete":
        raise UserError(
            f"tasks.environment: its actions are {space}{', which have no names' if names else ''}: "
            "TurnMix takes environments whose actions are discrete or text"
        )
    if not names:
        return tuple(str(number) for number in range(int(space.n)))
    if len(set(names)) != len(names) or len(names) > int(space.n):
        raise UserError(
            f"tasks.actions: {', '.join(names)}: give names of their own to the first of the environment's {space.n} "
            "actions, in their order"
        )
    return names


class GymnasiumGame:
    """An episode, which its seed makes."""

    def __init__(
        self,
        make_environment: Callable[[], Any],
        *,
        seed: int,
        system: str,
        names: tuple[str, ...],
        describe: Describe,
        planner: Callable[[Any], Planner] | None,
        won_above: float = 0.0,
        gives_up: str | None = None,
    ) -> None:
        """`planner`: given the environment that has started; `gives_up`: an act of no environment."""
        self.system = system
        self.acts = names
        self.has_planner = planner is not None
        self.gives_up = gives_up
        self._make_environment = make_environment
        self._seed = seed
        self._describe = describe
        self._make_planner = planner
        self._plan: Planner | None = None
        self._won_above = won_above
        self._names = names
        self._environment: Any = None

    def prepare(self) -> None:
        """It is made in no time."""

    def start(self) -> Scene:
        self._environment = self._make_environment()
        self._names = names_of(self._environment.action_space, self._names)
        self.acts = (*self._names, *([] if self.gives_up is None else [self.gives_up]))
        observation, _ = self._environment.reset(seed=self._seed)
        if self._make_planner is not None:
            self._plan = self._make_planner(self._environment)
        return Scene(text=self._describe(observation, self._environment), plan=self._planned(None))

    def takes(self, act: str) -> bool:
        return act in self._names if self._names else bool(self._environment.action_space.contains(act))

    def act(self, act: str) -> Scene:
        space = self._environment.action_space
        action = int(space.start) + self._names.index(act) if self._names else act
        observation, reward, is_terminated, is_truncated, _ = self._environment.step(action)
        is_over = bool(is_terminated or is_truncated)
        return Scene(
            text=self._describe(observation, self._environment),
            reward=float(reward),
            is_over=is_over,
            is_out_of_time=is_over and not is_terminated,
            plan=None if is_over else self._planned(act),
        )

    def is_won(self, reward: float) -> bool:
        return reward > self._won_above

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _planned(self, last: str | None) -> str | None:
        return None if self._plan is None else self._plan(last)
