"""The lines of a trajectory: which turns lead to which, and which were taken in one state.

In: a trajectory. Out: numbers of its turns, from 0. One line is what most trajectories are: there each turn follows the
one before it.
"""

from __future__ import annotations

from collections import defaultdict

from turnmix.core.trajectory import State, Trajectory


def is_one_line(trajectory: Trajectory) -> bool:
    """Does each turn follow the one before it?"""
    return all(turn.opening is None for turn in trajectory.turns)


def ends(trajectory: Trajectory) -> list[int]:
    """The last turn of each line: those that no other turn goes on from. A history that a scaffold wrote anew may hold
    an action elsewhere than where it was taken; nothing goes on from it there."""
    last = len(trajectory.turns) - 1
    if is_one_line(trajectory):
        return [last] if last >= 0 else []
    histories = [trajectory.history(number) for number in range(last + 1)]
    continued: set[int] = set()
    for history in histories:
        for place, each in enumerate(history):
            if isinstance(each, int) and each not in continued and history[:place] == histories[each]:
                continued.add(each)
    return [number for number in range(last + 1) if number not in continued]


def paths(trajectory: Trajectory) -> list[tuple[int, ...]]:
    """Of each turn those whose actions stand in its state, in order, and itself last."""
    if is_one_line(trajectory):
        numbers = range(len(trajectory.turns))
        return [tuple(numbers[: number + 1]) for number in numbers]
    return [
        (*dict.fromkeys(each for each in trajectory.history(number) if isinstance(each, int)), number)
        for number in range(len(trajectory.turns))
    ]


def visits(trajectory: Trajectory) -> list[int]:
    """Of each turn the first one that was taken in the same state: with the same messages and tools."""
    if is_one_line(trajectory):
        return list(range(len(trajectory.turns)))
    found: list[int] = []
    known: dict[int, list[tuple[int, State]]] = defaultdict(list)
    for number in range(len(trajectory.turns)):
        state = trajectory.state(number)
        alike = known[len(state.messages)]
        first = next((other for other, seen in alike if _are_one(seen, state)), number)
        if first == number:
            alike.append((number, state))
        found.append(first)
    return found


def _are_one(state: State, other: State) -> bool:
    return state.messages == other.messages and state.tools == other.tools
