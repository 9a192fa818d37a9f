"""Plots of a comparison: of each outcome one, the arms below each other, their seeds, and the differences' intervals.

In: compared outcomes. Out: plots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from turnmix.analysis.compared import ComparedOutcome
from turnmix.analysis.outcomes import OUTCOMES
from turnmix.viewing.page.plot import INK, MUTED, SERIES, Plot, drawing, short_name


def comparison_plots(outcomes: Sequence[ComparedOutcome]) -> Iterator[Plot]:
    """All outcomes below each other, for a paper, where there are several; then each of them."""
    measured = [outcome for outcome in outcomes if any(each.value is not None for each in outcome.values)]
    if len(measured) > 1:
        yield _overview(measured)
    for outcome in measured:
        yield _outcome(outcome)


def _overview(outcomes: Sequence[ComparedOutcome]) -> Plot:
    arms = max(sum(each.value is not None for each in outcome.values) for outcome in outcomes)
    height = (1.0 + 0.22 * arms) * len(outcomes)
    with drawing(height=height, columns=2, rows=len(outcomes)) as (figure, rows):
        for outcome, (values, differences) in zip(outcomes, rows, strict=True):
            _draw(outcome, values, differences)
            values.set_title(OUTCOMES[outcome.name].title, loc="left", fontsize=9, fontweight="bold")
    return Plot(
        name="compare",
        title="Compared: all outcomes",
        caption=_caption(outcomes[0], better="Each outcome with its figures."),
        figure=figure,
    )


def _outcome(outcome: ComparedOutcome) -> Plot:
    num_arms = sum(each.value is not None for each in outcome.values)
    with drawing(height=1.25 + 0.3 * num_arms, columns=2) as (figure, (values, differences)):
        _draw(outcome, values, differences)
    better = "Lower" if OUTCOMES[outcome.name].is_lower_better else "Higher"
    return Plot(
        name=f"compare-{outcome.name.replace('_', '-')}",
        title=f"Compared: {outcome.title}",
        caption=_caption(outcome, better=f"{better} is better."),
        figure=figure,
    )


def _draw(outcome: ComparedOutcome, values: Any, differences: Any) -> None:
    is_share = outcome.unit == "share"
    scale = 100.0 if is_share else 1.0
    arms = [each for each in outcome.values if each.value is not None]
    for place, arm in enumerate(arms):
        seeds = [scale * each for each in arm.by_seed.values() if each is not None]
        values.plot(
            seeds,
            [place] * len(seeds),
            linestyle="none",
            marker="o",
            markersize=3.2,
            color=SERIES[0],
            alpha=0.55,
            clip_on=False,
        )
        values.plot(
            [scale * (arm.value or 0.0)], [place], marker="D", markersize=6, color=SERIES[0], clip_on=False
        )
    values.set_yticks(range(len(arms)), [short_name(arm.arm) for arm in arms])
    values.set_ylim(len(arms) - 0.5, -0.5)
    values.set_xlim((-2, 100) if is_share else (0, None))
    values.set_xlabel("%" if is_share else "nats per token")
    _differences(differences, outcome, [arm.arm for arm in arms], scale)
    differences.set_xlabel(f"less {short_name(outcome.reference)}" + (" (points)" if is_share else ""))
    for axes in (values, differences):
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(left=False)


def _differences(axes: Any, outcome: ComparedOutcome, arms: Sequence[str], scale: float) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.9)
    for each in outcome.differences:
        found = each.comparison
        if found is None or each.arm not in arms:
            continue
        place = arms.index(each.arm)
        if found.low is not None and found.high is not None:
            axes.plot([scale * found.low, scale * found.high], [place, place], color=INK, linewidth=1.3)
        axes.plot([scale * found.difference], [place], marker="s", color=SERIES[1])
    axes.set_yticks(range(len(arms)), [""] * len(arms))
    axes.set_ylim(len(arms) - 0.5, -0.5)


def _caption(outcome: ComparedOutcome, *, better: str) -> str:
    found = [each.comparison for each in outcome.differences if each.comparison is not None]
    seeds = max((len(each.by_seed) for each in outcome.values), default=1)
    told = f"{better} Diamonds are arms over all their seeds, small points single seeds."
    if not found:
        return told
    seeds_told = "1 seed" if seeds == 1 else f"{seeds} seeds"
    return (
        f"{told} Right: each arm less {short_name(outcome.reference)}, with its 95 % interval over "
        f"{found[0].num_tasks} tasks and {seeds_told}; it crosses the line where no difference is shown."
    )
