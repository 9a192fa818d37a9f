"""TextWorld (PyPI textworld): text adventures made by seed, to be played by commands; the game's planner is the expert.

In: what sort of game, and how much of each thing. Out: a task source; a game's seed is a task.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from turnmix.core.finding import Finding
from turnmix.environments.environment import TaskParts
from turnmix.environments.worlds.game import world_library
from turnmix.environments.worlds.source import WorldSettings, WorldSource
from turnmix.environments.worlds.textworld_cache import games_folder, made_game
from turnmix.environments.worlds.textworld_game import GIVES_UP, TextWorldGame

_COOKING_ROOMS = (1, 6, 9, 12)
_SYSTEM = (
    "You play a text adventure: {goal} Each turn, say one command with act, such as look, inventory, examine {thing}, "
    "go north, open {box}, take {thing} from {box}, drop {thing}{further}. The game ends by itself when it is won or "
    f"lost; {GIVES_UP} ends one that cannot be won any more."
)
_SYSTEMS = {
    "cooking": _SYSTEM.format(
        goal="cook the meal of the cookbook in the kitchen, and eat it. Wrong ways to prepare an ingredient lose it.",
        thing="carrot",
        box="fridge",
        further=", cook carrot with stove (fries), oven (roasts) or BBQ (grills), slice, dice or chop carrot with "
        "knife, prepare meal, eat meal",
    ),
    "treasure": _SYSTEM.format(
        goal="find the thing that you are told of, and take it. To take a wrong thing may lose the game.",
        thing="lamp",
        box="chest",
        further=", unlock chest with key",
    ),
}


class TextWorldSettings(WorldSettings):
    """Tasks of TextWorld."""

    source: Literal["textworld"] = "textworld"
    game: Literal["cooking", "treasure"] = "cooking"
    """cooking: read a recipe, find its ingredients, prepare them, cook and eat the meal. treasure: find a thing in a
    maze of rooms and take it."""
    rooms: int = Field(default=6, ge=1, le=20)
    """Number of rooms: 1, 6, 9 or 12 where there is something to cook, 2 to 20 on a treasure hunt."""
    ingredients: int = Field(default=1, ge=1, le=5)
    """Of a recipe."""
    take: int | None = Field(default=None, ge=0, le=5)
    """Number of ingredients that have to be found; the others are carried from the start. Left out: all of them."""
    open: bool = False
    """Doors and containers are closed at first. Cooking only, as the following."""
    cook: bool = False
    """Ingredients have to be fried, roasted or grilled."""
    cut: bool = False
    """Ingredients have to be chopped, sliced or diced, with a knife."""
    drop: bool = False
    """No more can be carried than there are ingredients, and with one to be cut the knife."""
    quest_length: int = Field(default=4, ge=1, le=12)
    """Number of commands that the shortest way to the treasure takes."""
    mode: Literal["easy", "medium", "hard"] = "easy"
    """Of a treasure hunt. easy: empty rooms without doors; medium: with doors and containers, which may be closed;
    hard: which may be locked too."""

    @model_validator(mode="after")
    def _there_is_such_a_game(self) -> Self:
        others = _TREASURE if self.game == "cooking" else _COOKING
        for name in others:
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                raise ValueError(f"tasks.{name} = {value}: a game of {self.game} has none: leave it out")
        if self.game == "cooking" and self.rooms not in _COOKING_ROOMS:
            raise ValueError(f"tasks.rooms = {self.rooms}: give 1, 6, 9 or 12 for tasks.game=cooking")
        if self.game == "treasure" and self.rooms < 2:
            raise ValueError(f"tasks.rooms = {self.rooms}: a treasure hunt needs 2 to 20")
        if self.take is not None and self.take > self.ingredients:
            raise ValueError(
                f"tasks.take = {self.take}: more than tasks.ingredients, which is {self.ingredients}: give 0 to "
                f"{self.ingredients}, or leave it out"
            )
        if self.game == "treasure" and self.quest_length > self.rooms:
            raise ValueError(
                f"tasks.quest_length = {self.quest_length}: too long for {self.rooms} rooms: give 1 to {self.rooms}, "
                "or more tasks.rooms"
            )
        return self

    def check(self) -> Iterable[Finding]:
        """Raises UserError: there is no TextWorld, or no place for its games."""
        world_library("textworld", source=self.source)
        games_folder()
        return ()

    def make(self, parts: TaskParts) -> WorldSource:
        self.check()
        return WorldSource(self, games=[self._name()], make_game=self._game, has_planner=True)

    def _game(self, name: str, seed: int) -> TextWorldGame:
        order = {"game": self.game, "seed": seed, **self._order()}
        return TextWorldGame(
            partial(made_game, order),
            system=_SYSTEMS[self.game],
            is_cooking=self.game == "cooking",
            are_hands_limited=self.drop,
        )

    def _order(self) -> dict[str, Any]:
        names = _COOKING if self.game == "cooking" else _TREASURE
        order = {name: getattr(self, name) for name in ("rooms", *names)}
        if order.get("take", 0) is None:
            order["take"] = self.ingredients
        return order

    def _name(self) -> str:
        """Such as `cooking-rooms6-ingredients2-take2-open-cook`."""
        parts = [
            name if value is True else f"{value}" if isinstance(value, str) else f"{name}{value}"
            for name, value in self._order().items()
            if value is not False
        ]
        return "-".join([self.game, *parts])


_COOKING = ("ingredients", "take", "open", "cook", "cut", "drop")
_TREASURE = ("quest_length", "mode")
