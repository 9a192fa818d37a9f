"""Plots of what runs recorded: holdout tasks resolved, who acted, the loss, and how evaluations ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turnmix.core.trajectory import StopReason
from turnmix.viewing.page.plot import (
    MARKERS,
    MUTED,
    PAPER,
    SERIES,
    Plot,
    add_legend,
    drawing,
    iteration_ticks,
    short_name,
    span,
)
from turnmix.viewing.page.reported_run import ReportedRun

MOST_RUNS = len(SERIES)
"""In one plot."""
_DODGE = 0.06
"""Between the runs' points of one iteration."""
ENDS = {
    "resolved": SERIES[2],
    "finished, unresolved": SERIES[1],
    "unresolved": SERIES[1],
    "stuck": SERIES[3],
    "max_turns": SERIES[0],
    "max_tokens": SERIES[4],
    "wall_time": SERIES[5],
    "limit_exceeded": MUTED,
}
"""How a judged trajectory ends, and its colour."""


def run_plots(runs: Sequence[ReportedRun]) -> Iterator[Plot]:
    """Those for which there is something to draw."""
    drawn = [run for run in runs if run.summary is not None][:MOST_RUNS]
    more = len([run for run in runs if run.summary is not None]) - len(drawn)
    left_out = f" Drawn are the first {len(drawn)} runs; {more} more are in the tables." if more else ""
    for make in (_resolved, _teacher_share, _loss, _endings):
        if (plot := make(drawn, left_out)) is not None:
            yield plot


def _resolved(runs: Sequence[ReportedRun], left_out: str) -> Plot | None:
    curves = [
        (run, [(iteration, figures) for iteration, figures in run.evaluated() if figures["n"]])
        for run in runs
    ]
    curves = [(run, points) for run, points in curves if points]
    if not curves:
        return None
    with drawing() as (figure, axes):
        for place, (run, points) in enumerate(curves):
            shift = _DODGE * (place - (len(curves) - 1) / 2)
            shares = [100 * figures["resolved"] / figures["n"] for _, figures in points]
            low = [share - 100 * figures["low"] for share, (_, figures) in zip(shares, points)]
            high = [100 * figures["high"] - share for share, (_, figures) in zip(shares, points)]
            axes.errorbar(
                [iteration + shift for iteration, _ in points],
                shares,
                yerr=[[max(each, 0) for each in low], [max(each, 0) for each in high]],
                marker=MARKERS[place],
                color=SERIES[place],
                elinewidth=1.2,
                label=short_name(run.name),
            )
        axes.set_ylim(0, 100)
        axes.set_yticks(range(0, 101, 25), [f"{share} %" for share in range(0, 101, 25)])
        iteration_ticks(axes, [iteration for _, points in curves for iteration, _ in points])
        axes.set_ylabel("holdout tasks resolved")
        add_legend(figure, axes)
    tasks = sorted({figures["n"] for _, points in curves for _, figures in points})
    told = "; ".join(f"{short_name(run.name)} {_change(points)}" for run, points in curves)
    return Plot(
        name="resolved",
        title="Holdout tasks resolved, by iteration",
        caption=f"The student alone, greedily: {told}. n = {span(tasks)} tasks. Bars are 95 % Wilson intervals over "
        f"tasks; they say nothing about other seeds.{left_out}",
        figure=figure,
    )


def _teacher_share(runs: Sequence[ReportedRun], left_out: str) -> Plot | None:
    curves = [
        (run, [row for row in (run.summary or {})["iterations"] if row["realised_beta"] is not None])
        for run in runs
    ]
    curves = [(run, rows) for run, rows in curves if rows]
    if not curves:
        return None
    with drawing() as (figure, axes):
        for place, (run, rows) in enumerate(curves):
            steps = [row["iteration"] for row in rows]
            nominal = [row["beta"] for row in rows]
            if None not in nominal:
                axes.plot(steps, nominal, color=SERIES[place], linestyle=(0, (2, 2)), linewidth=1.2)
            axes.plot(
                steps,
                [row["realised_beta"] for row in rows],
                marker=MARKERS[place],
                color=SERIES[place],
                linestyle="-" if None in nominal else "none",
                label=short_name(run.name),
            )
        axes.set_ylim(-0.04, 1.04)
        iteration_ticks(axes, [row["iteration"] for _, rows in curves for row in rows])
        axes.set_ylabel("teacher's share of turns")
        add_legend(figure, axes)
    rollouts = sum(row["rollouts"] for _, rows in curves for row in rows)
    return Plot(
        name="teacher-share",
        title="Who acted in the rollouts",
        caption=f"The share of turns that the teacher executed: points are what happened in {rollouts:,} rollouts, "
        f"dashed lines the nominal β. The two part where trajectories end early. There is no interval: all turns "
        f"are counted.{left_out}",
        figure=figure,
    )


def _loss(runs: Sequence[ReportedRun], left_out: str) -> Plot | None:
    curves = [
        (run, [loss for steps in run.losses for loss in steps]) for run in runs if any(map(len, run.losses))
    ]
    if not curves:
        return None
    values = [loss for _, losses in curves for loss in losses if loss is not None]
    with drawing() as (figure, axes):
        for place, (run, losses) in enumerate(curves):
            steps = range(1, len(losses) + 1)
            shown = [float("nan") if loss is None else loss for loss in losses]
            axes.plot(steps, shown, color=SERIES[place], linewidth=1.2, label=short_name(run.name))
        ends = {tuple(map(len, run.losses)) for run, _ in curves}
        if len(ends) == 1:  # equally many steps: one boundary stands for all
            _mark_iterations(axes, ends.pop())
        is_log = bool(values) and min(values) > 0 and max(values) > 5 * min(values)
        if is_log:
            from matplotlib.ticker import LogLocator, NullFormatter

            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("loss" + (", logarithmic" if is_log else ""))
        add_legend(figure, axes)
    steps_told = ", ".join(f"{short_name(run.name)} {len(losses):,}" for run, losses in curves)
    return Plot(
        name="loss",
        title="Loss, by optimiser step",
        caption=f"The training loss of every optimiser step ({steps_told} steps). It jumps where an iteration brings "
        f"new trajectories. One line is one run, so there is no interval.{left_out}",
        figure=figure,
    )


def _endings(runs: Sequence[ReportedRun], left_out: str) -> Plot | None:
    bars = [
        (f"{short_name(run.name)}, {'base' if iteration == 0 else f'iteration {iteration}'}", _ends(figures))
        for run in runs
        for iteration, figures in _first_and_last(run.evaluated())
    ]
    if not bars:
        return None
    with drawing(height=max(1.8, 1.1 + 0.34 * len(bars))) as (figure, axes):
        begun = [0] * len(bars)
        for end, colour in ENDS.items():
            counts = [ends[end] for _, ends in bars]
            if not any(counts):
                continue
            axes.barh(range(len(bars)), counts, left=begun, height=0.66, color=colour, label=end)
            for place, count in enumerate(counts):
                if count >= 0.06 * sum(bars[place][1].values()):
                    middle = begun[place] + count / 2
                    axes.text(middle, place, str(count), color=PAPER, ha="center", va="center")
            begun = [before + count for before, count in zip(begun, counts)]
        axes.set_yticks(range(len(bars)), [name for name, _ in bars])
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(left=False)
        axes.set_xlabel("trajectories")
        add_legend(figure, axes)
    number = max(sum(ends.values()) for _, ends in bars)
    return Plot(
        name="endings",
        title="How holdout evaluations ended",
        caption=f"Trajectories of the base student and of the last evaluation, by their end, on up to {number} tasks "
        f"each. Finished ones called finish, and were judged; the rest were stopped. These are counts, so there is no "
        f"interval.{left_out}",
        figure=figure,
    )


def _ends(figures: Mapping[str, Any]) -> Counter[str]:
    """Counts by end. Where what was not finished is judged too, stop reasons do not tell what is resolved."""
    ends = Counter({"resolved": figures["resolved"]})
    if figures.get("unfinished_are") == "graded":
        ends["unresolved"] = figures["n"] - figures["resolved"]
        return ends
    for reason, number in (figures.get("stop_reasons") or {}).items():
        is_finish = reason == StopReason.finished.value
        ends["finished, unresolved" if is_finish else reason] += (
            max(number - figures["resolved"], 0) if is_finish else number
        )
    return ends


def _first_and_last(evaluated: list[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, Mapping[str, Any]]]:
    return evaluated if len(evaluated) < 2 else [evaluated[0], evaluated[-1]]


def _change(points: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    first, last = points[0][1], points[-1][1]
    told = f"{last['resolved']} of {last['n']}"
    return told if len(points) < 2 else f"{first['resolved']} → {told}"


def _mark_iterations(axes: Any, steps: Sequence[int]) -> None:
    end = 0
    for number in steps[:-1]:
        end += number
        axes.axvline(end + 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
