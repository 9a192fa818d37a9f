"""Two arms on one outcome: the difference, its interval, its p-value, and what so many tasks and seeds could show.

In: what both arms scored, by seed and task. Out: one `Comparison`, which says how it was judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turnmix.analysis.statistics.mcnemar import mcnemar, tango
from turnmix.analysis.statistics.measured import Measured, Pairs, pair
from turnmix.analysis.statistics.power import power, smallest_effect
from turnmix.analysis.statistics.spread import contributions, crossed_spread, is_nested

STATED_POINTS = 0.05
STATED_CHANGE = 0.1
ONE_SEED = "One seed: this tells which of the two trained students is better, not which way of training is."
TWO_SEEDS = (
    "Two seeds tell little of the luck of a training: where it is large, 1 in 10 such comparisons finds a difference "
    "that is not there, not 1 in 20. Take three seeds or more."
)
OWN_TASKS = "Each seed has tasks of its own: the seeds alone are the units."


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Arm a less arm b. Each end and figure that cannot be known is None."""

    value_a: float
    value_b: float
    difference: float
    """`value_a` less `value_b`; of shares in points, from -1 to 1."""
    low: float | None
    """Of the 95 % interval of the difference."""
    high: float | None
    p_value: float
    """Two-sided; 1 where nothing can be known."""
    method: str
    """In words: the units, and the test."""
    num_tasks: int
    num_seeds: int
    num_pairs: int
    """Of a seed and a task: those that both arms have."""
    effect: float
    """The difference that `power` is stated for, in the unit of `difference`."""
    power: float | None
    """The chance that as many tasks and seeds show `effect`, if it is there, at a level of 5 %."""
    smallest_effect: float | None
    """What they show with a power of .8. None of shares: they show none, however large."""
    notes: tuple[str, ...] = ()
    """Sentences: what was left out, and what this does not say."""


def compare(a: Measured, b: Measured, *, effect: float | None = None) -> Comparison:
    """Arm a against arm b, paired by task and by seed.

    In: `effect`, the difference whose power is told; by default .05 (5 points) of shares, else a tenth of b's value.
    Raises UserError where both have no task in common.
    """
    pairs = pair(a, b)
    value_a = float(np.nansum(pairs.numerators_a) / np.nansum(pairs.denominators_a))
    value_b = float(np.nansum(pairs.numerators_b) / np.nansum(pairs.denominators_b))
    stated = effect if effect is not None else STATED_POINTS if a.unit == "share" else STATED_CHANGE * value_b
    judged = (
        _of_one_seed(pairs) if _is_one_seed_of_truth_values(pairs) else _of_means(pairs, value_a - value_b)
    )
    num_seeds, num_tasks = pairs.is_there.shape
    error, degrees = judged.standard_error, judged.degrees
    is_known = error > 0 and degrees > 0
    smallest = smallest_effect(error, degrees) if is_known else None
    if a.unit == "share" and smallest is not None and smallest > 1:
        smallest = None
    return Comparison(
        value_a=value_a,
        value_b=value_b,
        difference=value_a - value_b,
        low=judged.low,
        high=judged.high,
        p_value=judged.p_value,
        method=judged.method,
        num_tasks=num_tasks,
        num_seeds=num_seeds,
        num_pairs=int(pairs.is_there.sum()),
        effect=stated,
        power=power(stated, error, degrees) if is_known else None,
        smallest_effect=smallest,
        notes=(*pairs.notes, *_notes(pairs)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    low: float | None
    high: float | None
    p_value: float
    standard_error: float
    degrees: float
    method: str


def _is_one_seed_of_truth_values(pairs: Pairs) -> bool:
    return pairs.is_there.shape[0] == 1 and pairs.are_truth_values


def _of_one_seed(pairs: Pairs) -> _Judged:
    only_a = int(np.nansum(pairs.numerators_a > pairs.numerators_b))
    only_b = int(np.nansum(pairs.numerators_b > pairs.numerators_a))
    num_tasks = pairs.is_there.shape[1]
    low, high = tango(only_a, only_b, num_tasks)
    return _Judged(
        low=float(low),
        high=float(high),
        p_value=mcnemar(only_a, only_b).mid_p,
        # One more than were seen: none at all would promise to show anything.
        standard_error=float(np.sqrt(only_a + only_b + 1) / num_tasks),
        degrees=max(num_tasks - 1, 1),
        method="pairs by task: mid-p McNemar test, Tango's interval",
    )


def _of_means(pairs: Pairs, difference: float) -> _Judged:
    from scipy.stats import t

    parts = contributions(pairs.numerators_a, pairs.denominators_a) - contributions(
        pairs.numerators_b, pairs.denominators_b
    )
    spread = crossed_spread(parts, pairs.is_there)
    error, degrees = float(np.sqrt(spread.variance)), float(spread.degrees)
    num_seeds, num_tasks = pairs.is_there.shape
    if num_seeds == 1:
        method = f"pairs by task: t-test with {degrees:g} degrees of freedom"
    elif is_nested(pairs.is_there):
        method = f"pairs by seed, each with tasks of its own: t-test with {degrees:g} degrees of freedom"
    else:
        method = (
            "pairs by task and seed, both crossed random effects: "
            f"t-test with Satterthwaite's degrees of freedom ({degrees:.1f})"
        )
    if error == 0 or degrees == 0:
        low = high = None
        if pairs.are_truth_values:
            low, high = (float(end) for end in tango(0, 0, num_tasks))
        return _Judged(low=low, high=high, p_value=1.0, standard_error=error, degrees=degrees, method=method)
    radius = float(t.ppf(0.975, degrees)) * error
    limit = 1.0 if pairs.are_truth_values else np.inf
    return _Judged(
        low=max(difference - radius, -limit),
        high=min(difference + radius, limit),
        p_value=float(2 * t.sf(abs(difference) / error, degrees)),
        standard_error=error,
        degrees=degrees,
        method=method,
    )


def _notes(pairs: Pairs) -> list[str]:
    num_seeds = pairs.is_there.shape[0]
    notes = [ONE_SEED] if num_seeds == 1 else [TWO_SEEDS] if num_seeds == 2 else []
    if is_nested(pairs.is_there):
        return [*notes, OWN_TASKS]
    missing = int((~pairs.is_there).sum())
    if missing:
        notes.append(
            f"{missing} of {pairs.is_there.size} pairs of a seed and a task are missing, and left out."
        )
    return notes
