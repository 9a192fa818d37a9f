"""What a comparison of this size can show.

In: standard error and degrees of freedom. Out: the power for a stated effect, and the smallest effect that would be
found with a power of .8. The power at the effect that was seen says no more than the p-value, and is not offered
(Hoenig and Heisey 2001).
"""

from __future__ import annotations

import numpy as np

POWER = 0.8
LEVEL = 0.05


def power(effect: float, standard_error: float, degrees: float) -> float:
    """The chance that a two-sided t-test at 5 % finds `effect`.

    >>> round(power(0.05, 0.02, 199), 3)
    0.701
    """
    from scipy.stats import nct, t

    if standard_error == 0:
        return 1.0 if effect else LEVEL
    critical = t.ppf(1 - LEVEL / 2, degrees)
    shift = abs(effect) / standard_error
    # Far from zero the wrong side's tail is too small for scipy, which gives NaN.
    wrong_side = np.nan_to_num(nct.cdf(-critical, degrees, shift))
    return min(float(nct.sf(critical, degrees, shift) + wrong_side), 1.0)


def smallest_effect(standard_error: float, degrees: float) -> float:
    """The effect that such a test finds with a power of .8.

    About 2.8 standard errors where there are many degrees of freedom, and more where there are few:

    >>> [round(smallest_effect(1, degrees), 2) for degrees in (4, 199)]
    [3.76, 2.82]
    """
    from scipy.optimize import brentq
    from scipy.stats import t

    # The shift is near the sum of two quantiles; the brackets hold for any degrees from 1.
    upper = 4 * float(t.ppf(1 - LEVEL / 2, degrees))
    return standard_error * float(brentq(lambda shift: power(shift, 1.0, degrees) - POWER, 0.1, upper))
