"""The Wilson score interval of a share.

In: k of n. Out: the 95 % interval of the share behind them. It stays inside 0 … 1 and holds at k = 0 and
k = n, where the textbook interval collapses (Wilson 1927; Brown, Cai and DasGupta 2001).
"""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson(resolved: int, n: int, *, z: float = Z_95) -> tuple[float, float]:
    """Low and high end of the interval; (0, 1), nothing known, for n = 0.

    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    >>> [round(end, 4) for end in wilson(0, 10)]
    [0.0, 0.2775]
    >>> [round(end, 4) for end in wilson(10, 10)]
    [0.7225, 1.0]
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if not 0 <= resolved <= n:
        raise ValueError(f"resolved must be between 0 and n = {n}, not {resolved}")
    if n == 0:
        return 0.0, 1.0
    share = resolved / n
    centre = share + z * z / (2 * n)
    radius = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the exact value is 0 or 1; rounding would miss it by an ulp.
    low = 0.0 if resolved == 0 else (centre - radius) / scale
    high = 1.0 if resolved == n else (centre + radius) / scale
    return low, high
