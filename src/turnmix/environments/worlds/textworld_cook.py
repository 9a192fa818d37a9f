"""What TextWorld's own planner leaves out of a cooking game: to read the recipe first, and to cook with full hands.

In: a game, and the facts of a state. Out: the next command, from whatever the agent did. TextWorld's planner knows the
recipe without reading it, and has no plan at all where hands are limited.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from typing import Any

_COOKBOOK = "cookbook"
_HANDS, _PLAYER = "I", "P"
_APPLIANCES = {"fried": "stove", "roasted": "oven", "grilled": "toaster"}
_VERBS = {"chopped": "chop", "sliced": "slice", "diced": "dice"}
_DIRECTIONS = ("north", "east", "south", "west")


class NoWayError(Exception):
    """Nothing that can be done leads on."""


class Cook:
    """Asked in each state; remembers nothing."""

    def __init__(self, game: Any, facts: Iterable[Any]) -> None:
        """`facts`: TextWorld's propositions, all that are true now."""
        self._names = {key: each.name for key, each in game.infos.items()}
        self._kinds = {key: each.type for key, each in game.infos.items()}
        self._facts: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for fact in sorted(facts, key=str):
            self._facts[fact.name].append(tuple(argument.name for argument in fact.arguments))
        self._place = {thing: place for each in ("at", "in", "on") for thing, place in self._facts[each]}
        self._here = self._place[_PLAYER]

    def reads(self) -> str | None:
        """The next step to read the cookbook; None: there is no way to it."""
        try:
            book = next(key for key, name in self._names.items() if name == _COOKBOOK)
            return self._reach(book) or f"examine {self._names[book]}"
        except (StopIteration, NoWayError):
            return None

    def cooks(self) -> str | None:
        """The next step to the meal; None: there is no way to it."""
        try:
            return self._step()
        except NoWayError:
            return None

    def _step(self) -> str:
        meal = next(key for key, kind in self._kinds.items() if kind == "meal")
        if meal in self._place:
            return "eat meal" if self._place[meal] == _HANDS else self._take(meal, keeping=())
        recipe = self._recipe()
        for food, cooking, cutting in recipe:
            if self._is_wanting(food, cooking, _APPLIANCES) or self._is_wanting(food, cutting, _VERBS):
                return self._prepare(food, cooking, cutting)
        foods = [food for food, _, _ in recipe]
        for food in foods:
            if self._place.get(food) != _HANDS:
                return self._take(food, keeping=foods)
        return self._go(self._facts["cooking_location"][0][0]) or "prepare meal"

    def _prepare(self, food: str, cooking: str | None, cutting: str | None) -> str:
        name = self._names[food]
        if self._place.get(food) != _HANDS:
            return self._take(food, keeping=(food,), prefers_knife=self._is_wanting(food, cutting, _VERBS))
        if cooking and self._is_wanting(food, cooking, _APPLIANCES):
            appliance = self._first(key for key, kind in self._kinds.items() if kind == _APPLIANCES[cooking])
            return self._go(self._room(appliance)) or f"cook {name} with {self._names[appliance]}"
        assert cutting is not None
        knife = self._first(key for (key,) in self._facts["sharp"])
        if self._place.get(knife) != _HANDS:
            return self._take(knife, keeping=(food,))
        return f"{_VERBS[cutting]} {name} with {self._names[knife]}"

    def _recipe(self) -> list[tuple[str, str | None, str | None]]:
        """Each food with how it has to be cooked and cut."""
        of = {ingredient: food for food, ingredient in self._facts["base"]}
        return [
            (
                food,
                next((each for each in _APPLIANCES if (ingredient,) in self._facts[each]), None),
                next((each for each in _VERBS if (ingredient,) in self._facts[each]), None),
            )
            for ingredient, food in sorted(of.items())
        ]

    def _is_wanting(self, food: str, how: str | None, hows: Collection[str]) -> bool:
        """Is that left to be done? Raises NoWayError: it was done otherwise."""
        done = [each for each in hows if (food,) in self._facts[each]]
        if how is not None and done and done != [how]:
            raise NoWayError
        return how is not None and not done

    def _take(self, thing: str, *, keeping: Collection[str], prefers_knife: bool = False) -> str:
        if step := self._reach(thing):
            return step
        slots = [slot for (slot, *others) in self._facts["free"] if not others]
        is_limited = slots or any(name.startswith("slot") for (name, *_) in self._facts["used"])
        if is_limited and not slots:
            return f"drop {self._names[self._least(keeping, prefers_knife)]}"
        holder = self._place[thing]
        return f"take {self._names[thing]}" + ("" if holder == self._here else f" from {self._names[holder]}")

    def _least(self, keeping: Collection[str], prefers_knife: bool) -> str:
        """What is carried and needed least."""
        foods = [food for food, _, _ in self._recipe()]
        knives = [knife for (knife,) in self._facts["sharp"]]

        def worth(thing: str) -> int:
            return 1 + prefers_knife * 2 if thing in knives else 2 if thing in foods else 0

        carried = [thing for thing, place in self._place.items() if place == _HANDS and thing not in keeping]
        return min(carried, key=worth) if carried else self._first(())

    def _reach(self, thing: str) -> str | None:
        """The next step to where the thing can be touched; None: it can be. Raises NoWayError: it is gone."""
        if thing not in self._place:
            raise NoWayError
        holder = self._place[thing]
        if holder == _HANDS:
            return None
        if step := self._go(self._room(thing)):
            return step
        return f"open {self._names[holder]}" if (holder,) in self._facts["closed"] else None

    def _room(self, thing: str) -> str:
        while self._kinds.get(thing) != "r":
            thing = self._here if thing == _HANDS else self._place[thing]
        return thing

    def _go(self, room: str) -> str | None:
        """The next step of the shortest way to a room; None: it is here. Raises NoWayError."""
        first: dict[str, str | None] = {self._here: None}
        waiting = deque([self._here])
        while waiting:
            at = waiting.popleft()
            if at == room:
                return first[at]
            for direction in _DIRECTIONS:
                for there, here in self._facts[f"{direction}_of"]:
                    if here == at and there not in first and (step := self._leave(at, there, direction)):
                        first[there] = step if at == self._here else first[at]
                        waiting.append(there)
        raise NoWayError

    def _leave(self, here: str, there: str, direction: str) -> str | None:
        """None: the way is locked."""
        if (here, there) in self._facts["free"]:
            return f"go {direction}"
        doors = [door for a, door, b in self._facts["link"] if (a, b) == (here, there)]
        return next((f"open {self._names[door]}" for door in doors if (door,) in self._facts["closed"]), None)

    def _first(self, found: Iterable[str]) -> str:
        for each in found:
            return each
        raise NoWayError
