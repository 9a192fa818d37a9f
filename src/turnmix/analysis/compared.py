"""Arms compared on outcomes: values with their spread over seeds, and differences to the reference arm.

In: what each arm scored, by outcome. Out: a `ComparedOutcome` for each, with Holm's p-values over its arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from turnmix.analysis.outcomes import OUTCOMES
from turnmix.analysis.statistics.comparison import Comparison, compare
from turnmix.analysis.statistics.holm import holm
from turnmix.analysis.statistics.measured import Measured
from turnmix.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmValue:
    """What an arm came to on one outcome."""

    arm: str
    numerator: float
    denominator: float
    by_seed: Mapping[int, float | None]
    """None: nothing was measured with this seed."""

    @property
    def value(self) -> float | None:
        return self.numerator / self.denominator if self.denominator else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An arm less the reference arm."""

    arm: str
    comparison: Comparison | None
    """None: they have no task in common, or nothing was measured."""
    holm_p_value: float | None
    """Over all arms that are compared on this outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedOutcome:
    """All arms on one outcome."""

    name: str
    reference: str
    values: Sequence[ArmValue]
    differences: Sequence[Difference]

    @property
    def title(self) -> str:
        return OUTCOMES[self.name].title

    @property
    def unit(self) -> str:
        return OUTCOMES[self.name].unit

    def value_of(self, arm: str) -> ArmValue:
        return next(each for each in self.values if each.arm == arm)

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.name,
            "unit": self.unit,
            "reference": self.reference,
            "arms": {
                each.arm: {
                    "value": each.value,
                    "numerator": each.numerator,
                    "denominator": each.denominator,
                    "by_seed": {str(seed): value for seed, value in each.by_seed.items()},
                }
                for each in self.values
            },
            "differences": {
                each.arm: None
                if each.comparison is None
                else {**asdict(each.comparison), "holm_p_value": each.holm_p_value}
                for each in self.differences
            },
        }


def compared_outcome(name: str, arms: Mapping[str, Measured], *, reference: str) -> ComparedOutcome:
    """`arms` by name, the reference among them."""
    found = {arm: _compared(arms[arm], arms[reference]) for arm in arms if arm != reference}
    known = {arm: each for arm, each in found.items() if each is not None}
    adjusted = dict(zip(known, holm([each.p_value for each in known.values()]), strict=True))
    return ComparedOutcome(
        name=name,
        reference=reference,
        values=[_value(arm, each) for arm, each in arms.items()],
        differences=[
            Difference(arm=arm, comparison=each, holm_p_value=adjusted.get(arm))
            for arm, each in found.items()
        ],
    )


def difference_between(first: Measured, second: Measured) -> Comparison | None:
    """The second less the first; None: it cannot be known."""
    return _compared(second, first)


def _compared(arm: Measured, reference: Measured) -> Comparison | None:
    if arm.value is None or reference.value is None:
        return None
    try:
        return compare(arm, reference)
    except UserError:
        return None


def _value(arm: str, measured: Measured) -> ArmValue:
    is_there = np.isfinite(measured.numerators) & np.isfinite(measured.denominators)
    numerators = np.where(is_there, measured.numerators, 0).sum(axis=1)
    denominators = np.where(is_there, measured.denominators, 0).sum(axis=1)
    return ArmValue(
        arm=arm,
        numerator=float(numerators.sum()),
        denominator=float(denominators.sum()),
        by_seed={
            seed: float(numerator / denominator) if denominator else None
            for seed, numerator, denominator in zip(measured.seeds, numerators, denominators, strict=True)
        },
    )
