"""Two arms on one outcome: the difference, its interval, its p-value, and what so many tasks and seeds could show.

In: what both arms scored, by seed and task. Out: one `Comparison`, which says how it was judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from turnmix.analysis.statistics.difference import judge_difference
from turnmix.analysis.statistics.mcnemar import mcnemar, tango
from turnmix.analysis.statistics.measured import Measured, Pairs, pair
from turnmix.analysis.statistics.power import power, smallest_effect
from turnmix.analysis.statistics.spread import is_nested

STATED_POINTS = 0.05
STATED_CHANGE = 0.1
ONE_SEED = "One seed: this tells which of the two trained students is better, not which way of training is."
TWO_SEEDS = (
    "Two seeds tell little of the luck of a training: of 100 comparisons of equal arms 2 to 7 find a difference. "
    "Take three seeds or more."
)
OWN_TASKS = "Each seed has tasks of its own: the seeds alone are the units."
NO_LUCK = "No seed or task differs from the others: there is no luck to be estimated from."
FEW_TASKS = 20


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
    Raises UserError where both have no task in common, or nothing was counted on those.
    """
    pairs = pair(a, b)
    value_a = float(np.nansum(pairs.numerators_a) / np.nansum(pairs.denominators_a))
    value_b = float(np.nansum(pairs.numerators_b) / np.nansum(pairs.denominators_b))
    stated = effect if effect is not None else STATED_POINTS if a.unit == "share" else STATED_CHANGE * value_b
    judged = _judge(pairs)
    error, degrees = judged.standard_error, judged.degrees
    is_known = error > 0 and degrees > 0
    smallest = smallest_effect(error, degrees) if is_known else None
    if a.unit == "share" and smallest is not None and smallest > 1:
        smallest = None
    num_seeds, num_tasks = pairs.is_there.shape
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
        notes=(*pairs.notes, *_notes(pairs, f"{a.name} or {b.name}"), *([] if is_known else [NO_LUCK])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    low: float | None
    high: float | None
    p_value: float
    standard_error: float
    degrees: float
    method: str


def _judge(pairs: Pairs) -> _Judged:
    if pairs.are_truth_values and pairs.is_there.shape[0] == 1:
        return _by_mcnemar(pairs, "pairs by task")
    found = judge_difference(
        pairs.numerators_a, pairs.denominators_a, pairs.numerators_b, pairs.denominators_b
    )
    degrees = float(found.degrees)
    if found.standard_error == 0 and pairs.are_truth_values:
        return _by_mcnemar(pairs, "pairs by task in the first seed, as the seeds do not differ")
    if pairs.is_there.shape[0] == 1:
        method = f"pairs by task: t-test with {degrees:g} degrees of freedom"
    elif is_nested(pairs.is_there):
        method = f"pairs by seed, each with tasks of its own: t-test with {degrees:g} degrees of freedom"
    else:
        method = (
            "pairs by task and seed, both crossed random effects: t-test with Satterthwaite's degrees of freedom, "
            f"cautious with few seeds ({degrees:.1f})"
        )
    limit = 1.0 if pairs.are_truth_values else math.inf
    is_known = math.isfinite(float(found.low))
    return _Judged(
        low=max(float(found.low), -limit) if is_known else None,
        high=min(float(found.high), limit) if is_known else None,
        p_value=float(found.p_value),
        standard_error=float(found.standard_error),
        degrees=degrees,
        method=method,
    )


def _by_mcnemar(pairs: Pairs, units: str) -> _Judged:
    """Of the first seed."""
    resolved_a, resolved_b = pairs.numerators_a[0], pairs.numerators_b[0]
    only_a, only_b = int((resolved_a > resolved_b).sum()), int((resolved_b > resolved_a).sum())
    num_tasks = int(pairs.is_there[0].sum())
    low, high = tango(only_a, only_b, num_tasks)
    # One more than were seen: none at all would promise to show anything.
    variance = max(only_a + only_b + 1 - (only_a - only_b) ** 2 / num_tasks, 1.0)
    return _Judged(
        low=float(low),
        high=float(high),
        p_value=mcnemar(only_a, only_b).mid_p,
        standard_error=math.sqrt(variance) / num_tasks,
        degrees=max(num_tasks - 1, 1),
        method=f"{units}: mid-p McNemar test, Tango's interval",
    )


def _notes(pairs: Pairs, arms: str) -> list[str]:
    num_seeds, num_tasks = pairs.is_there.shape
    notes = [ONE_SEED] if num_seeds == 1 else [TWO_SEEDS] if num_seeds == 2 else []
    if num_tasks < FEW_TASKS:
        notes.append(f"{num_tasks} tasks are too few for this interval to be trusted.")
    if is_nested(pairs.is_there):
        return [*notes, OWN_TASKS]
    missing = int((~pairs.is_there).sum())
    if missing:
        notes.append(
            f"{missing} of {pairs.is_there.size} pairs of seed and task, missing in {arms}, are left out."
        )
    return notes
