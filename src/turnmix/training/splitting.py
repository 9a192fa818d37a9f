"""In: the paths of one group. Out: which of them share a tree: all, or those of each part of a split.

A tree larger than the budget is split between leaves, and each part repeats the way from the root to its first leaf.
All parts together have at most `MOST_ROWS` times the rows of the unsplit tree. Where the budget cannot be kept at
that price, as no part is shorter than its longest path, the parts are those that are cheapest, where one percent less
held at once is worth two percent more computed. A long path with short branches then stays whole: there is little
to gain.

Leaves lie depth first, at every fork the child with the longest path first, so what hangs deepest is next to the
trunk. A part is a row of neighbours, which makes the best cuts a shortest way along the leaves.

    >>> from turnmix.training.token_paths import path_order
    >>> trunk = np.arange(100, dtype=np.int32)
    >>> branches = [np.append(trunk[:depth], np.full(40, 7, dtype=np.int32)) for depth in (10, 20, 90)]
    >>> paths = [trunk, *branches]
    >>> for budget in (220, 150, 1):
    ...     print([(part.places, part.repeated_rows) for part in split_paths(paths, path_order(paths), budget)])
    [([0, 1, 2, 3], 0)]
    [([0, 3], 0), ([1, 2], 20)]
    [([0, 3], 0), ([1, 2], 20)]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from turnmix.training.token_paths import Integers, Path, PathOrder

MOST_ROWS = 1.25
"""Of the rows of the unsplit tree: what the parts of a split have together at most."""
TRIED_LIMITS = 24
"""Rows of a part, in equal steps from the longest path to the whole tree, of which the cheapest are found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Paths that share a tree."""

    places: list[int]
    """Which ones, in the order in which they were given."""
    repeated_rows: int
    """Rows of its tree that a part before it has too."""
    whole_rows: int
    """Of the unsplit tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaves:
    """The leaves of a tree, so that those of every subtree are neighbours. Leaves [i, k) alone are a tree of
    ends[k] - heads[i] rows."""

    places: Sequence[list[int]]
    """Of each the paths that go with it."""
    sizes: Integers
    """Rows from the root to each."""
    shared: Integers
    """Rows that each has in common with the leaf before it; 0 for the first."""

    @property
    def ends(self) -> Integers:
        return np.concatenate([[0], np.cumsum(self.sizes - self.shared)])

    @property
    def heads(self) -> Integers:
        return self.ends[:-1] - self.shared


def split_paths(paths: Sequence[Path], order: PathOrder, budget: int) -> list[Part]:
    """The parts of the tree of `paths`, whose order is `order`."""
    leaves = _leaves(paths, order)
    whole, longest = int(leaves.ends[-1]), int(leaves.sizes.max())
    if whole <= budget:
        return [Part(places=list(range(len(paths))), repeated_rows=0, whole_rows=whole)]
    leaves = _deepest_first(leaves)
    starts = _cheapest_starts(leaves, max(budget, longest), is_enough=budget >= longest)
    return [
        Part(
            places=sorted(place for leaf in leaves.places[start:stop] for place in leaf),
            repeated_rows=int(leaves.shared[start]),
            whole_rows=whole,
        )
        for start, stop in pairwise([*starts, len(leaves.places)])
    ]


def _cheapest_starts(leaves: _Leaves, limit: int, *, is_enough: bool) -> list[int]:
    """The first leaf of each part. `is_enough`: `limit` is what was asked for."""
    ends, heads = leaves.ends, leaves.heads
    whole = int(ends[-1])
    splits = [_starts(leaves, limit)]

    def total(starts: list[int]) -> int:
        return whole + int(leaves.shared[starts].sum())

    def largest(starts: list[int]) -> int:
        return int((ends[[*starts[1:], -1]] - heads[starts]).max())

    if is_enough and total(splits[0]) <= MOST_ROWS * whole:
        return splits[0]
    splits += [_starts(leaves, int(tried)) for tried in np.linspace(limit, whole, TRIED_LIMITS)[1:]]
    affordable = [starts for starts in splits if total(starts) <= MOST_ROWS * whole]
    return min(affordable, key=lambda starts: total(starts) * largest(starts) ** 2)


def _leaves(paths: Sequence[Path], order: PathOrder) -> _Leaves:
    """In the order of their tokens. A path that others continue has no row of its own: it goes with the first
    of those."""
    places: list[list[int]] = []
    sizes, shared = [], []
    waiting: list[int] = []
    closest = 0
    for place, gap in zip(order.places, [*order.shared[1:], 0], strict=True):
        waiting.append(place)
        if gap == len(paths[place]):
            closest = min(closest, gap)
            continue
        places.append(waiting)
        sizes.append(len(paths[place]))
        shared.append(closest)
        waiting, closest = [], gap
    return _Leaves(places=places, sizes=np.array(sizes), shared=np.array(shared))


def _deepest_first(leaves: _Leaves) -> _Leaves:
    """The same, at every fork the child with the longest path first: lines of leaves join where they part, the
    deepest forks first."""
    sizes, shared = leaves.sizes.tolist(), leaves.shared.tolist()
    lines = {leaf: [leaf] for leaf in range(len(sizes))}  # by the leftmost leaf of each
    leftmost = list(range(len(sizes)))  # by the rightmost one
    above = [0] * len(sizes)
    for start in sorted(range(1, len(sizes)), key=lambda leaf: -shared[leaf]):
        first = leftmost[start - 1]
        left, right = lines[first], lines.pop(start)
        leftmost[start + len(right) - 1] = first
        if sizes[right[0]] > sizes[left[0]]:
            left, right = right, left
        above[right[0]] = shared[start]
        lines[first] = left + right
    order = lines[0]
    return _Leaves(
        places=[leaves.places[leaf] for leaf in order],
        sizes=leaves.sizes[order],
        shared=np.array([above[leaf] for leaf in order]),
    )


def _starts(leaves: _Leaves, limit: int) -> list[int]:
    """The first leaf of each part, where parts are of at most `limit` rows: they repeat the fewest rows that
    parts of neighbours can, and are as few as that allows."""
    number = len(leaves.sizes)
    prices = leaves.shared * (number + 1) + 1  # of a part that begins here
    firsts = np.searchsorted(leaves.heads, leaves.ends - limit).tolist()
    spent = np.zeros(number + 1, dtype=np.int64)
    before = [0] * (number + 1)
    for stop in range(1, number + 1):
        totals = spent[firsts[stop] : stop] + prices[firsts[stop] : stop]
        chosen = int(totals.argmin())
        before[stop], spent[stop] = firsts[stop] + chosen, totals[chosen]
    starts = [number]
    while starts[-1]:
        starts.append(before[starts[-1]])
    return starts[:0:-1]
