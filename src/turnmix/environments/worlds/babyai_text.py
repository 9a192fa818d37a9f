"""What an agent of BabyAI sees, as text: each object with its way there, the walls before and beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_UNTOLD = ("unseen", "empty", "wall", "floor", "agent")


def described(observation: Any, environment: Any) -> str:
    """The mission, where it has only just begun, and the view."""
    from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT

    world = environment.unwrapped
    cells = [
        [(IDX_TO_OBJECT[int(kind)], IDX_TO_COLOR[int(color)], int(state)) for kind, color, state in column]
        for column in observation["image"]
    ]
    told = [*_objects(cells), *_walls(cells)]
    if world.carrying is not None:
        told.append(f"You carry {_a(f'{world.carrying.color} {world.carrying.type}')}")
    view = "\n".join(told) or "You see nothing"
    return view if world.step_count else f"Your task: {observation['mission']}.\n\n{view}"


def _objects(cells: list[list[tuple[str, str, int]]]) -> Iterator[str]:
    """The nearest rows first. The agent stands in the middle of the last row of its view and looks along it."""
    middle, last = len(cells) // 2, len(cells[0]) - 1
    for row in range(last, -1, -1):
        for column in range(len(cells)):
            kind, color, state = cells[column][row]
            if kind in _UNTOLD or (column, row) == (middle, last):
                continue
            opened = ("open ", "closed ", "locked ")[state] if kind == "door" else ""
            yield f"{_a(f'{opened}{color} {kind}')} {_way(last - row, column - middle)}"


def _walls(cells: list[list[tuple[str, str, int]]]) -> Iterator[str]:
    middle, last = len(cells) // 2, len(cells[0]) - 1
    for forward, right in ((1, 0), (0, -1), (0, 1)):
        for distance in range(1, len(cells[0])):
            column, row = middle + distance * right, last - distance * forward
            if not (0 <= column < len(cells) and row >= 0):
                break
            if cells[column][row][0] == "wall":
                yield f"a wall {_way(distance * forward, distance * right)}"
                break


def _way(forward: int, right: int) -> str:
    """
    >>> _way(2, -1), _way(0, 3)
    ('2 steps forward and 1 step left', '3 steps right')
    """
    parts = [(forward, "forward"), (abs(right), "right" if right > 0 else "left")]
    return " and ".join(
        f"{number} step{'s' * (number > 1)} {direction}" for number, direction in parts if number
    )


def _a(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
