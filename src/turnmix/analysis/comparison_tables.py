"""Compared outcomes as tables: of each outcome one, a row an arm. In: outcomes. Out: tables."""

from __future__ import annotations

import re

from turnmix.analysis.compared import ArmValue, ComparedOutcome, Difference
from turnmix.analysis.outcomes import OUTCOMES
from turnmix.analysis.statistics.comparison import Comparison
from turnmix.analysis.table import Cell, Column, Estimate, Table


def outcome_table(outcome: ComparedOutcome) -> Table:
    """Values with their spread over seeds, differences to the reference arm, and what so many tasks could show."""
    is_share = outcome.unit == "share"
    better = "lower" if OUTCOMES[outcome.name].is_lower_better else "higher"
    difference = {each.arm: each for each in outcome.differences}
    rows = [_row(value, difference.get(value.arm), is_share=is_share) for value in outcome.values]
    return Table(
        name=f"compare-{outcome.name}",
        title=f"{outcome.title}: {better} is better",
        columns=(
            Column(title="arm"),
            Column(title="value" if is_share else "value (nats per token)"),
            Column(title="over seeds"),
            Column(title=f"less {outcome.reference}", unit="points" if is_share else "nats per token"),
            Column(title="p"),
            Column(title="p (Holm)"),
            Column(title="power"),
            Column(title=f"smallest effect ({'points' if is_share else 'nats'})"),
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
        None if found is None or found.power is None else f"{found.power:.2f}",
        None if found is None else _effect_text(found.smallest_effect, is_share=is_share),
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
    return f"{100 * low:.1f}–{100 * high:.1f} %" if is_share else f"{low:.3f}–{high:.3f}"


def _effect_text(effect: float | None, *, is_share: bool) -> str | None:
    return None if effect is None else f"{100 * effect:.1f}" if is_share else f"{effect:.3f}"


def p_text(p_value: float) -> str:
    """
    >>> p_text(0.0421), p_text(0.00002)
    ('.042', '< .001')
    """
    return "< .001" if p_value < 0.001 else f"{p_value:.3f}".removeprefix("0")


def _notes(outcome: ComparedOutcome) -> list[str]:
    found = [each.comparison for each in outcome.differences if each.comparison is not None]
    notes: list[str] = []
    for comparison in found[:1]:
        notes.append(f"{_method(comparison)}; {_size(comparison)}.")
        effect = (
            f"{100 * comparison.effect:g} points"
            if outcome.unit == "share"
            else f"{comparison.effect:.3f} nats per token"
        )
        notes.append(
            f"power: the chance to find a difference of {effect} at a level of 5 %; smallest effect: found with a "
            "chance of 80 %."
        )
    return [*notes, *dict.fromkeys(note for each in found for note in each.notes)]


def _method(comparison: Comparison) -> str:
    """Without the degrees of freedom, in which arms differ."""
    told = re.sub(r"( with)? [\d.]+ degrees of freedom| \([\d.]+\)", "", comparison.method)
    return told[:1].upper() + told[1:]


def _size(comparison: Comparison) -> str:
    seeds = "1 seed" if comparison.num_seeds == 1 else f"{comparison.num_seeds} seeds"
    return f"{comparison.num_tasks} tasks, {seeds}"
