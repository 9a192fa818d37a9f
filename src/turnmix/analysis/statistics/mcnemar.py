"""Two students on the same tasks, each resolved or not: McNemar's test and Tango's interval.

In: the tasks that only the one resolved, and those that only the other did. Tasks that both resolve, or neither, say
nothing on which is better. Out: p-values, and an interval of the difference of shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from turnmix.analysis.statistics.measured import Floats
from turnmix.evaluation.interval import Z_95


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """Two-sided p-values: how likely so uneven a split is where each such task falls to either side by a coin."""

    exact: float
    """Never too small; with few such tasks too large."""
    mid_p: float
    """Counts the observed split by half: near to 5 % false alarms where the exact one has 2 or 3
    (Fagerland, Lydersen and Laake 2013, doi:10.1186/1471-2288-13-91)."""


def mcnemar(only_a: int, only_b: int) -> McNemar:
    """Of the tasks that one of two alone resolved.

    Of ten tasks that one of two resolved, a has one: 2 · (1 + 10)/2¹⁰, and 2 · (1 + 10/2)/2¹⁰.

    >>> split = mcnemar(1, 9)
    >>> round(split.exact, 5), round(split.mid_p, 5)
    (0.02148, 0.01172)
    """
    from scipy.stats import binomtest

    if min(only_a, only_b) < 0:
        raise ValueError(f"counts must be at least 0, not {only_a} and {only_b}")
    if only_a + only_b == 0:
        return McNemar(exact=1.0, mid_p=1.0)
    exact = float(binomtest(only_a, only_a + only_b).pvalue)
    return McNemar(exact=exact, mid_p=float(mid_p_values(only_a, only_b)))


def mid_p_values(only_a: ArrayLike, only_b: ArrayLike) -> Floats:
    """The mid-p values of many splits at once."""
    from scipy.stats import binom

    total = np.asarray(only_a) + np.asarray(only_b)
    smaller = np.minimum(only_a, only_b)
    below = 2 * binom.cdf(smaller, total, 0.5) - binom.pmf(smaller, total, 0.5)
    return np.asarray(np.minimum(below, 1.0), dtype=np.float64)


def tango(only_a: ArrayLike, only_b: ArrayLike, num_tasks: int) -> tuple[Floats, Floats]:
    """The 95 % score interval of share a less share b (Tango 1998); it has a width also where no task tells them apart.

    >>> [round(float(end), 4) for end in tango(1, 9, 50)]
    [-0.2929, -0.0445]
    >>> [round(float(end), 4) for end in tango(0, 0, 50)]
    [-0.0713, 0.0713]
    """
    a, b = np.broadcast_arrays(np.asarray(only_a, dtype=np.float64), np.asarray(only_b, dtype=np.float64))
    seen = (a - b) / num_tasks
    return _end(a, b, num_tasks, -np.ones_like(seen), seen), _end(a, b, num_tasks, np.ones_like(seen), seen)


def _end(a: Floats, b: Floats, n: int, outside: Floats, inside: Floats) -> Floats:
    """Where the score leaves ±z, between a difference far out and the one that was seen; by bisection."""
    for _ in range(52):
        middle = (outside + inside) / 2
        is_inside = _score_squared(a, b, n, middle) <= Z_95**2
        outside, inside = np.where(is_inside, outside, middle), np.where(is_inside, middle, inside)
    return outside


def _score_squared(a: Floats, b: Floats, n: int, difference: Floats) -> Floats:
    """Of the difference: (a - b - n·δ)² over its variance, with the share of b that is likeliest given δ."""
    linear = (2 * n - a + b) * difference - a - b
    constant = -b * difference * (1 - difference)
    share_b = (np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
    variance = n * (2 * share_b + difference * (1 - difference))
    gap = (a - b - n * difference) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(gap > 0, gap / np.maximum(variance, 0.0), 0.0))
