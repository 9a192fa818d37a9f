"""Compared outcomes as tables: of each outcome one, a row an arm. In: outcomes. Out: tables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from turnmix.analysis.compared import ArmValue, ComparedOutcome, Difference
from turnmix.analysis.outcomes import OUTCOMES
from turnmix.analysis.statistics.comparison import Comparison
from turnmix.analysis.table import Cell, Column, Estimate, Table

_HOW_TO_READ = (
    "Intervals are of 95 %; p is each difference's own, and Holm's holds for all arms of a table together. Chances are "
    "those of a test at a level of 5 %."
)


def outcome_table(outcome: ComparedOutcome) -> Table:
    """Values with their spread over seeds, differences to the reference arm, and what so many tasks could show."""
    is_share = outcome.unit == "share"
    unit = "" if is_share else f", {outcome.unit}"
    better = "lower" if OUTCOMES[outcome.name].is_lower_better else "higher"
    difference = {each.arm: each for each in outcome.differences}
    rows = [_row(value, difference.get(value.arm), is_share=is_share) for value in outcome.values]
    return Table(
        name=f"compare-{outcome.name}",
        title=f"{outcome.title[:1].upper()}{outcome.title[1:]}{unit}: {better} is better",
        columns=(
            Column(title="arm"),
            Column(title="value"),
            Column(title="over seeds, %" if is_share else "over seeds"),
            Column(title=f"less {outcome.reference}", unit="points" if is_share else "nats per token"),
            Column(title="p"),
            Column(title="Holm"),
        ),
        rows=tuple(rows),
        notes=tuple(_notes(outcome)),
    )


def _row(value: ArmValue, difference: Difference | None, *, is_share: bool) -> tuple[Cell, ...]:
    found = None if difference is None else difference.comparison
    return (
        value.arm,
        _value_text(value, is_share=is_share),
        _seeds_text(value, is_share=is_share),
        None if found is None else Estimate(value=found.difference, low=found.low, high=found.high),
        None if found is None else p_text(found.p_value),
        None if difference is None or difference.holm_p_value is None else p_text(difference.holm_p_value),
    )


def _value_text(value: ArmValue, *, is_share: bool) -> str | None:
    if value.value is None:
        return None
    if is_share:
        return f"{value.numerator:,.0f}/{value.denominator:,.0f} {100 * value.value:.1f} %"
    return f"{value.value:.3f}"


def _seeds_text(value: ArmValue, *, is_share: bool) -> str | None:
    """From the lowest to the highest."""
    known = [each for each in value.by_seed.values() if each is not None]
    if not known:
        return None
    if len(known) == 1:
        return "1 seed"
    low, high = min(known), max(known)
    return f"{100 * low:.1f}–{100 * high:.1f}" if is_share else f"{low:.3f}–{high:.3f}"


def p_text(p_value: float) -> str:
    """
    >>> p_text(0.0421), p_text(0.00002)
    ('.042', '<.001')
    """
    return "<.001" if p_value < 0.001 else f"{p_value:.3f}".removeprefix("0")


def _notes(outcome: ComparedOutcome) -> list[str]:
    """First what is this outcome's own; the others mostly hold for all outcomes of a comparison."""
    found = {each.arm: each.comparison for each in outcome.differences if each.comparison is not None}
    own = _powers(found, is_share=outcome.unit == "share", is_named=len(outcome.differences) > 1)
    told = dict.fromkeys(note for each in found.values() for note in each.notes)
    methods = sorted({_method(each) for each in found.values()})
    return [*([" ".join(own)] if own else []), *told, *methods, *([_HOW_TO_READ] if found else [])]


def _powers(found: Mapping[str, Comparison], *, is_share: bool, is_named: bool) -> list[str]:
    """What so many tasks and seeds could show: a sentence for all arms that have as many. `is_named`: each is."""
    by_size: dict[tuple[str, str], dict[str, Comparison]] = {}
    for arm, each in found.items():
        if each.power is not None:
            key = _size(each), _effect(each.effect, is_share=is_share)
            by_size.setdefault(key, {})[arm] = each
    told = []
    for (size, effect), arms in by_size.items():
        chances = {arm: _chance(each.power or 0) for arm, each in arms.items()}
        smallest = {
            arm: "none" if each.smallest_effect is None else _effect(each.smallest_effect, is_share=is_share)
            for arm, each in arms.items()
        }
        told.append(
            f"{size}: a difference of {effect} is found with a chance of {_by_arm(chances, is_named=is_named)}; the "
            f"smallest that is found with a chance of 80 % is {_by_arm(smallest, is_named=is_named)}."
        )
    return told


def _by_arm(texts: Mapping[str, str], *, is_named: bool) -> str:
    return ", ".join(f"{text} ({arm})" if is_named else text for arm, text in texts.items())


def _chance(power: float) -> str:
    """
    >>> _chance(0.123), _chance(0.9998)
    ('12 %', 'over 99 %')
    """
    return "over 99 %" if power >= 0.995 else f"{100 * power:.0f} %"


def _effect(effect: float, *, is_share: bool) -> str:
    return f"{100 * effect:.3g} points" if is_share else f"{effect:.3f} nats"


def _method(comparison: Comparison) -> str:
    """A sentence, without the degrees of freedom, in which arms differ."""
    told = re.sub(r"( with)? [\d.]+ degrees of freedom| \([\d.]+\)", "", comparison.method)
    return f"{told[:1].upper()}{told[1:]}."


def _size(comparison: Comparison) -> str:
    seeds = "1 seed" if comparison.num_seeds == 1 else f"{comparison.num_seeds} seeds"
    return f"{comparison.num_tasks} tasks, {seeds}"
