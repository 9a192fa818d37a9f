"""The interval of a ratio over trajectories: they are drawn again with replacement, and whole, since the turns of one
trajectory resemble each other.

In: of each trajectory a numerator and a denominator, such as nats and tokens. Out: the ratio of their sums with its
95 % percentile interval. The draws are seeded: the same figures give the same interval.

>>> ratio_estimate([1.0, 1.0, 1.0], [2, 2, 2])
Estimate(value=0.5, low=0.5, high=0.5)
>>> ratio_estimate([1.0], [2]), ratio_estimate([], []) is None
(Estimate(value=0.5, low=None, high=None), True)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from turnmix.analysis.table import Estimate

NUM_DRAWS = 2000
MOST_KEPT = 500
"""Trajectories whose draws are kept for the next figure."""
LEAST = 2
"""Trajectories of which there is an interval."""


def ratio_estimate(
    numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0
) -> Estimate | None:
    """None: there is nothing below the line."""
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    above, below = above[below > 0], below[below > 0]
    if not len(below):
        return None
    value = float(above.sum() / below.sum())
    if len(below) < LEAST:
        return Estimate(value=value, low=None, high=None)
    draw = _drawn_once if len(below) <= MOST_KEPT else _drawn
    counts = draw(len(below), seed)
    low, high = np.percentile((counts @ above) / (counts @ below), [2.5, 97.5])
    return Estimate(value=value, low=float(low), high=float(high))


def _drawn(number: int, seed: int) -> NDArray[np.float64]:
    """How often each of `number` is in each draw."""
    shares = np.full(number, 1 / number)
    return np.random.default_rng(seed).multinomial(number, shares, size=NUM_DRAWS).astype(np.float64)


_drawn_once = lru_cache(maxsize=16)(_drawn)
"""Many figures of a table are of equally many trajectories, and drawing takes longer than all else."""
