"""Which tasks each iteration gets: a split, a seed and an iteration in, that iteration's tasks out."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

from turnmix.core.seed import derive_seed
from turnmix.core.task import Task


def sampled_tasks(tasks: Sequence[Task], *, iteration: int, number: int, seed: int) -> list[Task]:
    """The tasks of one iteration, counted from 1: the next `number` of one seeded order after another.

    No task comes again before all have come once, over iterations too.

    >>> [sampled_tasks("abc", iteration=i, number=2, seed=0) for i in (1, 2, 3)]  # one order, then another
    [['b', 'c'], ['a', 'b'], ['c', 'a']]
    """
    first = (iteration - 1) * number
    order = itertools.islice(_orders(len(tasks), seed), first, first + number)
    return [tasks[index] for index in order]


def _orders(number: int, seed: int) -> Iterator[int]:
    for lap in itertools.count():
        order = list(range(number))
        random.Random(derive_seed(seed, lap)).shuffle(order)
        yield from order
