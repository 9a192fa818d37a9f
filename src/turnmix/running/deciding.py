"""A comparison's decision by its own rule. In: what arms scored. Out: each criterion with what was found.

Nothing is decided while runs of its arms are missing: a rule that is looked at on the way is another rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from turnmix.analysis.compared import ArmValue, ComparedOutcome, difference_between
from turnmix.analysis.comparison_tables import p_text
from turnmix.analysis.outcomes import OUTCOMES
from turnmix.analysis.statistics.comparison import Comparison
from turnmix.analysis.statistics.measured import Measured
from turnmix.analysis.table import Table
from turnmix.running.comparison_file import Bounds, Criterion, DecisionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One condition of the rule."""

    condition: str
    found: str
    holds: bool | None
    """None: what it needs was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the rule says."""

    between: tuple[str, str]
    rule: str
    expected: str
    num_missing: int
    """Runs of its arms that are not complete."""
    arms: Sequence[str]
    checks: Sequence[Checked]
    """None while runs are missing."""

    @property
    def holds(self) -> bool | None:
        """None: it is not decided."""
        told = [each.holds for each in self.checks]
        if self.num_missing or not told:
            return None
        return False if False in told else None if None in told else True

    @property
    def line(self) -> str:
        if self.num_missing:
            runs = "1 run" if self.num_missing == 1 else f"{self.num_missing} runs"
            are = "is" if self.num_missing == 1 else "are"
            return f"Not decided: {runs} of {' and '.join(self.arms)} {are} missing."
        said = {True: "The rule holds.", False: "The rule does not hold.", None: "Not decided."}
        return said[self.holds]

    def table(self) -> Table:
        """Its sentences: a condition is longer than a column."""
        words = {True: "Holds", False: "Does not hold", None: "Was not measured"}
        expected = [f"Expected: {self.expected}"] if self.expected else []
        checks = [f"{words[each.holds]}: {each.condition}; found: {each.found}." for each in self.checks]
        return Table(
            name="decision",
            title=f"Decision between {self.between[0]} and {self.between[1]}",
            columns=(),
            rows=(),
            notes=(f"Rule: {self.rule}", *expected, *checks, self.line),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "between": list(self.between),
            "rule": self.rule,
            "expected": self.expected,
            "missing_runs": self.num_missing,
            "holds": self.holds,
            "checks": [asdict(each) for each in self.checks],
        }


def decided(
    settings: DecisionSettings,
    outcomes: Mapping[str, ComparedOutcome],
    measured: Mapping[str, Mapping[str, Measured]],
    *,
    num_missing: int,
) -> Decision:
    """`outcomes` and `measured` (by arm) by the outcome's name."""
    checks = [
        check
        for criterion in settings.criteria
        for check in _checks(
            criterion,
            (criterion.against or settings.between[0], settings.between[1]),
            outcomes[criterion.outcome],
            measured[criterion.outcome],
        )
    ]
    return Decision(
        between=settings.between,
        rule=" ".join(settings.rule.split()),
        expected=" ".join(settings.expected.split()),
        num_missing=num_missing,
        arms=settings.arms,
        checks=[] if num_missing else checks,
    )


def _checks(
    criterion: Criterion,
    between: tuple[str, str],
    outcome: ComparedOutcome,
    measured: Mapping[str, Measured],
) -> Iterator[Checked]:
    first, second = between
    title, is_share = OUTCOMES[criterion.outcome].title, outcome.unit == "share"
    values = outcome.value_of(first), outcome.value_of(second)
    found = difference_between(measured[first], measured[second])
    if criterion.direction is not None:
        yield _direction(criterion, between, values, title)
    if criterion.p_value_at_most is not None:
        yield Checked(
            condition=f"{title}: p at most {p_text(criterion.p_value_at_most)} against {first}",
            found="–" if found is None else f"p {p_text(found.p_value)}",
            holds=None if found is None else found.p_value <= criterion.p_value_at_most,
        )
    if criterion.difference is not None:
        yield _difference(criterion.difference, between, found, title, is_share=is_share)
    for arm, bounds in criterion.values.items():
        value = outcome.value_of(arm).value
        yield Checked(
            condition=f"{title}: {arm} {_bounds_text(bounds, is_share=is_share)}",
            found=_figure(value, is_share=is_share),
            holds=None if value is None else _is_within(value, bounds),
        )


def _direction(
    criterion: Criterion, between: tuple[str, str], values: tuple[ArmValue, ArmValue], title: str
) -> Checked:
    first, second = values
    pairs = [(first.by_seed[seed], second.by_seed[seed]) for seed in first.by_seed if seed in second.by_seed]
    told = f"{title}: {criterion.direction} for {between[1]} than for {between[0]}"
    if criterion.in_seeds is None:
        return Checked(
            condition=told,
            found=_seen(first.value, second.value),
            holds=_is_so(criterion, first.value, second.value),
        )
    so = [_is_so(criterion, one, other) for one, other in pairs]
    return Checked(
        condition=f"{told}, in at least {criterion.in_seeds} seeds",
        found=f"in {sum(each is True for each in so)} of {len(so)}",
        holds=sum(each is True for each in so) >= criterion.in_seeds,
    )


def _is_so(criterion: Criterion, first: float | None, second: float | None) -> bool | None:
    if first is None or second is None:
        return None
    return second < first if criterion.direction == "lower" else second > first


def _difference(
    bounds: Bounds, between: tuple[str, str], found: Comparison | None, title: str, *, is_share: bool
) -> Checked:
    wanted = _bounds_text(bounds, is_share=is_share, is_difference=True)
    return Checked(
        condition=f"{title}: {between[1]} less {between[0]} {wanted}",
        found="–" if found is None else _figure(found.difference, is_share=is_share, is_difference=True),
        holds=None if found is None else _is_within(found.difference, bounds),
    )


def _is_within(value: float, bounds: Bounds) -> bool:
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)


def _bounds_text(bounds: Bounds, *, is_share: bool, is_difference: bool = False) -> str:
    low, high = (
        None if end is None else _figure(end, is_share=is_share, is_difference=is_difference)
        for end in bounds
    )
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"from {low} to {high}"


def _seen(first: float | None, second: float | None) -> str:
    return "–" if first is None or second is None else f"{second:.3f} against {first:.3f}"


def _figure(value: float | None, *, is_share: bool, is_difference: bool = False) -> str:
    if value is None:
        return "–"
    sign = "+" if is_difference else ""
    if not is_share:
        return f"{value:{sign}.3f}"
    return f"{100 * value:{sign}.1f} {'points' if is_difference else '%'}"
