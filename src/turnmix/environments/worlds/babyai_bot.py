"""The expert of BabyAI: its own bot, which plans anew from wherever the agent is.

A bot follows what the agent does and mends it. Where it loses the thread, one that begins in the present state tries;
where that fails too, as when a box that is asked for was opened, there is no plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ACTIONS = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle")
"""In the order of BabyAI's numbers."""
_MOST_GOALS = 60
"""That a bot sets itself before it acts: one that sets more goes round in a circle."""


class Bot:
    """Asked once in each state."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._bot = self._begun()

    def __call__(self, last: str | None) -> str | None:
        """In: the agent's last action. Out: what to do now; None: there is no plan."""
        number = None if last is None else ACTIONS.index(last)
        return self._asked(number) or self._asked_anew()

    def _asked_anew(self) -> str | None:
        self._bot = self._begun()
        return self._asked(None)

    def _asked(self, last: int | None) -> str | None:
        if self._bot is None:
            return None
        try:
            self._bot.stack = _Goals(self._bot.stack)
            number = int(self._bot.replan(last))
        except Exception:  # it asserts what it takes for granted
            return None
        return ACTIONS[number] if number < len(ACTIONS) else None

    def _begun(self) -> Any:
        from minigrid.utils.baby_ai_bot import BabyAIBot

        world = self._environment.unwrapped
        try:
            is_lost = not all([_is_there(target, world) for target in _targets(world.instrs)])
            return None if is_lost else BabyAIBot(self._environment)
        except Exception:
            return None


def _targets(instruction: Any) -> Iterator[Any]:
    """Descriptions of the objects that what is left of an instruction asks for."""
    for part in ("a", "b"):
        is_done = getattr(instruction, f"{part}_done", False) == "success"
        if not is_done and hasattr(instruction, f"instr_{part}"):
            yield from _targets(getattr(instruction, f"instr_{part}"))
    for name in ("desc", "desc_move", "desc_fixed"):
        if hasattr(instruction, name):
            yield getattr(instruction, name)


def _is_there(target: Any, world: Any) -> bool:
    """Is an object left that a description means? A box that was opened is gone, and BabyAI goes on listing it."""
    there = [each for each in [*world.grid.grid, world.carrying] if each is not None]
    left = [each for each in target.obj_set if any(each is other for other in there)]
    if left and len(left) < len(target.obj_set):
        target.obj_set = left
        target.find_matching_objs(world, use_location=False)
    return bool(left)


class _Goals(list[Any]):
    """A stack that refuses to grow without end."""

    def __init__(self, goals: list[Any]) -> None:
        super().__init__(goals)
        self._left = _MOST_GOALS

    def append(self, goal: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise RecursionError("goals without end")
        super().append(goal)
