"""Plots of analyses: how far students are from their teacher, by checkpoint and by turn, and what an accident costs.

In: stored analyses. Out: plots, of those for which there is something to draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from turnmix.analysis.accidents import KINDS
from turnmix.analysis.divergence import FIRST_TURNS, Divergence, divergence_of
from turnmix.analysis.ended_rollouts import ended_rollouts
from turnmix.analysis.judged_turns import JudgedTurn, label_nll, num_states
from turnmix.analysis.stored import StoredAnalysis
from turnmix.analysis.table import Estimate
from turnmix.evaluation.interval import wilson
from turnmix.store.analysis_directory import OWN
from turnmix.viewing.page.plot import (
    MARKERS,
    PAPER,
    SERIES,
    Plot,
    add_legend,
    drawing,
    iteration_ticks,
    short_name,
    span,
)
from turnmix.viewing.report import DASH

_BY_TRAJECTORY = "Bars are 95 % intervals, trajectories drawn again with replacement."
_DODGE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedRun:
    """A run's name in the report, and its analyses in the order of iterations."""

    name: str
    analyses: Sequence[StoredAnalysis]


def analysis_plots(runs: Sequence[AnalysedRun]) -> Iterator[Plot]:
    """Raises UserError: something stored is damaged."""
    drawn = [run for run in runs if run.analyses][: len(SERIES)]
    found = {run.name: [(each.iteration, divergence_of(each)) for each in run.analyses] for run in drawn}
    found = {name: [(at, each) for at, each in points if each.own] for name, points in found.items()}
    found = {name: points for name, points in found.items() if points}
    if found:
        yield _by_checkpoint(found)
        yield _by_turn({name: points[-1] for name, points in found.items()})
    befallen = [(run.name, run.analyses[-1]) for run in drawn]
    befallen = [(name, last) for name, last in befallen if set(KINDS) & {*last.rollout_names}]
    if befallen:
        yield _accidents(befallen)


def _by_checkpoint(found: dict[str, list[tuple[int, Divergence]]]) -> Plot:
    with drawing() as (figure, axes):
        for place, (name, points) in enumerate(found.items()):
            at = [iteration + _DODGE * (place - (len(found) - 1) / 2) for iteration, _ in points]
            own = [label_nll(each.own, _any) for _, each in points]
            there = [label_nll(each.teacher, _any) for _, each in points]
            _estimates(axes, at, own, place=place, label=short_name(name))
            if any(each is not None for each in there):
                _estimates(axes, at, there, place=place, is_open=True)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("label NLL (nats per token)")
        iteration_ticks(axes, [iteration for points in found.values() for iteration, _ in points])
        add_legend(figure, axes)
    last = "; ".join(
        f"{short_name(name)} {_number(label_nll(points[-1][1].own, _any))}" for name, points in found.items()
    )
    number = sorted({len(each.own) for points in found.values() for _, each in points})
    return Plot(
        name="divergence",
        title="Distance from the teacher, by checkpoint",
        caption=f"What the teacher's label costs the student in the states that it visits alone (filled; last: {last}) "
        f"and in the teacher's own (open). Lower is closer. n = {span(number)} trajectories. {_BY_TRAJECTORY}",
        figure=figure,
    )


def _by_turn(found: dict[str, tuple[int, Divergence]]) -> Plot:
    spans = list(zip(FIRST_TURNS, (*FIRST_TURNS[1:], 1 << 53), strict=True))
    with drawing() as (figure, axes):
        used: set[int] = set()
        for place, (name, (_, each)) in enumerate(found.items()):
            points = [
                (at, label_nll(each.own, partial(_is_between, first, end)))
                for at, (first, end) in enumerate(spans)
                if num_states(each.own, partial(_is_between, first, end))
            ]
            used |= {at for at, _ in points}
            shift = _DODGE * (place - (len(found) - 1) / 2)
            _estimates(
                axes,
                [at + shift for at, _ in points],
                [estimate for _, estimate in points],
                place=place,
                label=short_name(name),
            )
        axes.set_ylim(bottom=0)
        axes.set_ylabel("label NLL (nats per token)")
        ticks = sorted(used)
        axes.set_xticks(ticks, [_turns(*spans[at]) for at in ticks])
        axes.set_xlabel("turn")
        add_legend(figure, axes)
    states = ", ".join(
        f"{short_name(name)} {num_states(each.own, _any):,}" for name, (_, each) in found.items()
    )
    return Plot(
        name="divergence-by-turn",
        title="Distance from the teacher, by turn",
        caption=f"The same of the last checkpoint, by how far the trajectory has come ({states} states). Errors that "
        f"lead to worse states show as a rise. {_BY_TRAJECTORY}",
        figure=figure,
    )


def _accidents(found: Sequence[tuple[str, StoredAnalysis]]) -> Plot:
    kinds = ("none", *KINDS)
    with drawing() as (figure, axes):
        numbers = set()
        for place, (name, analysis) in enumerate(found):
            for at, kind in enumerate(kinds):
                ended = ended_rollouts(analysis, OWN if kind == "none" else kind)
                if not ended:
                    continue
                numbers.add(len(ended))
                resolved = sum(each.is_resolved for each in ended)
                low, high = wilson(resolved, len(ended))
                share = resolved / len(ended)
                axes.errorbar(
                    [at + 0.12 * (place - (len(found) - 1) / 2)],
                    [100 * share],
                    yerr=[[100 * (share - low)], [100 * (high - share)]],
                    marker=MARKERS[place],
                    color=SERIES[place],
                    linestyle="none",
                    elinewidth=1.2,
                    label=short_name(name) if at == 0 else None,
                )
        axes.set_ylim(0, 100)
        axes.set_yticks(range(0, 101, 25), [f"{share} %" for share in range(0, 101, 25)])
        axes.set_xticks(range(len(kinds)), ["no accident", *(f"{kind} one" for kind in KINDS)])
        axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.set_ylabel("resolved")
        add_legend(figure, axes)
    return Plot(
        name="accidents",
        title="After one scripted action",
        caption="A stress test of the last checkpoint: tasks that the student resolves alone when one action of "
        f"nobody's comes at a turn drawn for each task. n = {span(sorted(numbers))} tasks. Bars are 95 % Wilson "
        "intervals over tasks.",
        figure=figure,
    )


def _estimates(
    axes: Any,
    at: Sequence[float],
    estimates: Sequence[Estimate | None],
    *,
    place: int,
    label: str | None = None,
    is_open: bool = False,
) -> None:
    points = [(x, each) for x, each in zip(at, estimates, strict=True) if each is not None]
    below = [each.value - (each.value if each.low is None else each.low) for _, each in points]
    above = [(each.value if each.high is None else each.high) - each.value for _, each in points]
    axes.errorbar(
        [x for x, _ in points],
        [each.value for _, each in points],
        yerr=[[max(each, 0) for each in below], [max(each, 0) for each in above]],
        marker=MARKERS[place],
        color=SERIES[place],
        markerfacecolor=PAPER if is_open else SERIES[place],
        linestyle=(0, (2, 2)) if is_open else "-",
        linewidth=1.0 if is_open else 1.6,
        elinewidth=1.2,
        label=label,
    )


def _any(turn: JudgedTurn) -> bool:
    return True


def _is_between(first: int, end: int, turn: JudgedTurn) -> bool:
    return first <= turn.turn + 1 < end


def _turns(first: int, end: int) -> str:
    """
    >>> _turns(1, 4), _turns(97, 1 << 53)
    ('1–3', '97+')
    """
    return f"{first}+" if end == 1 << 53 else f"{first}–{end - 1}"


def _number(estimate: Estimate | None) -> str:
    return DASH if estimate is None else f"{estimate.value:.2f}"
