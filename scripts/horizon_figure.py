"""Resolved tasks and own-state divergence against the horizon: how far students fall behind as tasks grow longer.

    python scripts/horizon_figure.py runs/horizon --output runs/horizon/plots

In: a directory of runs that were trained by one method on tasks of one length each, and analysed by `turnmix analyse`.
Out: horizon.svg and horizon.png. The horizon T is the mean number of the expert's own turns; a small mark is a seed,
and lines go through the means over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.analysis.divergence import divergence_of
from turnmix.analysis.ended_rollouts import ended_rollouts, resolved_share
from turnmix.analysis.judged_turns import label_nll
from turnmix.analysis.scaling import arm_name
from turnmix.analysis.stored import StoredAnalysis, stored_analyses
from turnmix.core.terminal import tell
from turnmix.store.analysis_directory import OWN, TEACHER
from turnmix.viewing.page.plot import MARKERS, SERIES, Plot, add_legend, drawing, write_plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One method on tasks of one length."""

    method: str
    horizon: float
    resolved: tuple[float, ...]
    """Shares, of a seed each."""
    label_nll: tuple[float, ...]
    """On the student's own states, of a seed each, in nats per token."""


def points(runs: Iterable[Path]) -> list[Point]:
    """By method, in the order of their horizons. A run is called METHOD-LENGTH-seed-N. Raises UserError."""
    arms: dict[str, list[StoredAnalysis]] = {}
    for run in sorted(runs):
        if analyses := stored_analyses(run):
            arms.setdefault(arm_name([run.name, run.name]), []).append(analyses[-1])
    found = [_point(arm.partition("-")[0], analyses) for arm, analyses in arms.items()]
    return sorted(found, key=lambda point: (point.method, point.horizon))


def _point(method: str, analyses: Sequence[StoredAnalysis]) -> Point:
    turns, shares, nlls = [], [], []
    for analysis in analyses:
        turns += [each.num_turns for each in ended_rollouts(analysis, TEACHER)]
        share = resolved_share(ended_rollouts(analysis, OWN)).value
        nll = label_nll(divergence_of(analysis).own, lambda turn: True)
        if share is None or nll is None:
            raise SystemExit(f"{analysis.path}: nothing was measured: analyse it again")
        shares.append(share)
        nlls.append(nll.value)
    return Point(
        method=method, horizon=statistics.fmean(turns), resolved=tuple(shares), label_nll=tuple(nlls)
    )


def figure_of(found: Sequence[Point]) -> Plot:
    """Both outcomes below each other."""
    with drawing(height=4.6, rows=2) as (figure, (upper, lower)):
        for axes, name, scale in ((upper, "resolved", 100.0), (lower, "label_nll", 1.0)):
            for place, method in enumerate(dict.fromkeys(point.method for point in found)):
                _draw(axes, [each for each in found if each.method == method], name, scale, place)
        upper.set_ylabel("resolved, %")
        upper.set_ylim(-3, 103)
        lower.set_ylabel("label NLL on own states")
        lower.set_ylim(bottom=0)
        lower.set_xlabel("horizon: mean turns of the expert")
        add_legend(figure, upper)
    return Plot(
        name="horizon",
        title="Resolved and own-state divergence against the horizon",
        caption=f"Small marks are seeds ({max(len(point.resolved) for point in found)}), lines go through their means.",
        figure=figure,
    )


def _draw(axes: Any, drawn: Sequence[Point], name: str, scale: float, place: int) -> None:
    colour, marker = SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]
    values = [[scale * value for value in getattr(point, name)] for point in drawn]
    axes.plot(
        [point.horizon for point in drawn],
        [statistics.fmean(each) for each in values],
        color=colour,
        marker=marker,
        label=drawn[0].method,
    )
    seeds = [(point.horizon, value) for point, each in zip(drawn, values, strict=True) for value in each]
    axes.plot(*zip(*seeds, strict=True), color=colour, marker=marker, markersize=2.5, linestyle="none")


def _told(values: Iterable[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="a directory of runs, such as a sweep's")
    parser.add_argument("--output", type=Path, help="a directory (RUNS/plots)")
    arguments = parser.parse_args()
    found = points(path for path in arguments.runs.iterdir() if path.is_dir())
    if not found:
        raise SystemExit(f"{arguments.runs}: no run in it was analysed: turnmix analyse RUN")
    for point in found:
        tell(
            f"{point.method}, T = {point.horizon:.1f}: "
            f"resolved {100 * statistics.fmean(point.resolved):.0f} % ({_told(point.resolved, '.0%')}), "
            f"label NLL {statistics.fmean(point.label_nll):.3f} ({_told(point.label_nll, '.3f')})"
        )
    output = arguments.output or arguments.runs / "plots"
    output.mkdir(parents=True, exist_ok=True)
    write_plot(figure_of(found), output)


if __name__ == "__main__":
    main()
