"""Several arms against one: p-values that hold for all together (Holm 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given; the smallest is multiplied by their number, the next by one less, …

    A value is never smaller than that of a smaller p-value, as .06 here:

    >>> [round(p, 3) for p in holm([0.04, 0.01, 0.03])]
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    ordered = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors), 1.0)
    adjusted = np.empty(len(p_values))
    adjusted[order] = ordered
    return [float(value) for value in adjusted]
