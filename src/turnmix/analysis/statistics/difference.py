"""The difference of two arms' values, with its 95 % interval and p-value: a t-test on crossed seeds and tasks.

In: numerators and denominators of both arms, [..., seeds, tasks], NaN where one is missing. Out: arrays of the leading
shape, so that ten thousand comparisons are judged at once as one is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turnmix.analysis.statistics.measured import Floats
from turnmix.analysis.statistics.spread import contributions, crossed_spread


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Value of a less value of b."""

    value: Floats
    standard_error: Floats
    """0: seeds and tasks do not vary, and nothing is known of luck."""
    degrees: Floats
    low: Floats
    """As `high`, infinite where nothing is known."""
    high: Floats
    p_value: Floats


def judge_difference(
    numerators_a: Floats, denominators_a: Floats, numerators_b: Floats, denominators_b: Floats
) -> Difference:
    """
    Four tasks of one seed with the differences 1, 0, 1, 0: ½ ± t₃·√(1/3)/2, where t₃ = 3.182.

    >>> one = np.ones((1, 4))
    >>> judged = judge_difference(np.array([[1.0, 0, 1, 1]]), one, np.array([[0.0, 0, 0, 1]]), one)
    >>> [round(float(figure), 4) for figure in (judged.value, judged.low, judged.high, judged.p_value)]
    [0.5, -0.4187, 1.4187, 0.1817]
    """
    from scipy.stats import t

    axes = (-2, -1)
    value = np.nansum(numerators_a, axis=axes) / np.nansum(denominators_a, axis=axes)
    value = value - np.nansum(numerators_b, axis=axes) / np.nansum(denominators_b, axis=axes)
    parts = contributions(numerators_a, denominators_a) - contributions(numerators_b, denominators_b)
    spread = crossed_spread(parts, np.isfinite(denominators_a))
    # What rounding leaves of equal numbers is no variance.
    is_known = (spread.degrees > 0) & (spread.variance > 1e-20 * np.abs(parts).max(axis=axes) ** 2)
    error = np.where(is_known, np.sqrt(spread.variance), 0.0)
    degrees = np.where(is_known, spread.degrees, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(is_known, 2 * t.sf(np.abs(value) / error, degrees), 1.0)
    radius = np.where(is_known, t.ppf(0.975, degrees) * error, np.inf)
    return Difference(
        value=np.asarray(value),
        standard_error=error,
        degrees=spread.degrees,
        low=np.asarray(value - radius),
        high=np.asarray(value + radius),
        p_value=p_value,
    )
