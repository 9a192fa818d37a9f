"""How far a difference of two arms would stray by luck: seeds and tasks as crossed random effects.

In: for each seed and task how much it adds to the difference, [..., seeds, tasks]. Out: variance and degrees of
freedom of the difference.

The model is that of readers and cases in radiology: d_st = δ + S_s + T_t + e_st. S is the luck of a training, T what
a task has for one of the arms, e the rest (Dorfman, Berbaum and Metz 1992; Hillis 2007, doi:10.1002/sim.2532). No
resampling of five seeds would do: permuting their signs cannot come below p = 2/2⁵ = .06, and a bootstrap of so few
units makes intervals that are too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnmix.analysis.statistics.measured import Floats


def degrees_exponent(num_seeds: int) -> float:
    """By which a part of the variance counts for the degrees of freedom; Satterthwaite's is 2 for any number.

    Few seeds that happen to agree would then count for too much: three raise up to 8 false alarms of 100. This rule,
    found by simulation, keeps them between 3.6 and 6.1 with three seeds, between 4.3 and 5.4 with five, and comes to
    Satterthwaite's with many.
    """
    return 2 - 3 / num_seeds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """Of the difference's luck; arrays of the leading shape."""

    variance: Floats
    degrees: Floats
    """0: there is a single unit, and nothing is known."""


def contributions(numerators: Floats, denominators: Floats) -> Floats:
    """What each entry adds to the deviation of a ratio of sums (the delta method); zero where one is missing.

    Of a share it is the entry less the share:

    >>> contributions(np.array([[1.0, 0.0, 0.0, 1.0]]), np.ones((1, 4)))
    array([[ 0.5, -0.5, -0.5,  0.5]])
    """
    axes = (-2, -1)
    count = np.isfinite(denominators).sum(axis=axes, keepdims=True)
    total = np.nansum(denominators, axis=axes, keepdims=True)
    ratio = np.nansum(numerators, axis=axes, keepdims=True) / total
    return np.asarray(np.nan_to_num((numerators - ratio * denominators) * (count / total)))


def crossed_spread(parts: Floats, is_there: NDArray[np.bool_]) -> Spread:
    """Of the mean of `parts` over seeds and tasks, as [..., seeds, tasks]; their mean is zero.

    The variance is that between seeds, and what tasks add to it: V = V_S + max(V_T - V_e, 0).
    """
    num_seeds, num_tasks = parts.shape[-2:]
    count = is_there.sum(axis=(-2, -1))
    by_seed = _between(parts.sum(axis=-1), count)
    by_task = _between(parts.sum(axis=-2), count)
    if num_seeds == 1:
        return Spread(variance=by_task, degrees=np.full(by_task.shape, num_tasks - 1.0))
    if is_nested(is_there):
        return Spread(variance=by_seed, degrees=np.full(by_seed.shape, num_seeds - 1.0))
    of_tasks = np.maximum(by_task - _residual(parts, is_there) / count, 0.0)
    variance = by_seed + of_tasks
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = degrees_exponent(num_seeds)
        seeds_part = (by_seed / variance) ** exponent / (num_seeds - 1)
        tasks_part = (of_tasks / variance) ** exponent / max(num_tasks - 1, 1)
        degrees = 1 / (seeds_part + tasks_part)
    return Spread(variance=variance, degrees=np.where(variance > 0, degrees, num_seeds - 1.0))


def is_nested(is_there: NDArray[np.bool_]) -> bool:
    """Has each of several seeds tasks of its own?"""
    return is_there.shape[-2] > 1 and bool((is_there.sum(axis=-2) == 1).all())


def _between(sums: Floats, count: NDArray[np.int64]) -> Floats:
    """The variance of the mean, from the sums of its independent units."""
    units = sums.shape[-1]
    return np.asarray((sums**2).sum(axis=-1) * (units / max(units - 1, 1)) / count**2)


def _residual(parts: Floats, is_there: NDArray[np.bool_]) -> Floats:
    """The variance of what neither seed nor task explains: the mean square left by an additive fit."""
    num_seeds, num_tasks = parts.shape[-2:]
    left = parts.astype(np.float64)
    is_complete = bool(is_there.all())
    # Complete, one round fits exactly; else rows and columns are fitted in turn until they settle.
    for _ in range(1 if is_complete else 50):
        for axis in (-1, -2):
            mean = left.sum(axis=axis, keepdims=True) / np.maximum(is_there.sum(axis=axis, keepdims=True), 1)
            left = np.where(is_there, left - mean, 0.0)
    free = is_there.sum(axis=(-2, -1)) - num_seeds - num_tasks + 1
    return np.asarray((left**2).sum(axis=(-2, -1)) / np.maximum(free, 1))
