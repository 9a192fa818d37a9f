"""How far training has come against what it took: labels, and the teacher's tokens (paper Fig. 1).

In: runs, their evaluations and their analyses, as they are stored. Out: points, and a table of them. Runs whose recipes
differ in nothing but the seed are one arm: its points are means over seeds, with Student's t interval.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnmix.analysis.divergence import divergence_of
from turnmix.analysis.judged_turns import label_nll
from turnmix.analysis.stored import StoredAnalysis, stored_analyses
from turnmix.analysis.stored_training import StoredTraining, stored_training
from turnmix.analysis.table import Cell, Column, Estimate, Share, Table
from turnmix.core.usage import Usage
from turnmix.store.analysis_directory import OWN

_SEED = re.compile(r"[-_.]?seed[-_=]?\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPoint:
    """One arm at one iteration."""

    arm: str
    iteration: int
    """0: the base student."""
    seeds: int
    """Runs behind it."""
    labels: float
    """Learned until then, over all iterations; the mean of the runs."""
    label_tokens: float | None
    """Of these, as the student writes them."""
    teacher_tokens: float | None
    """In and out of its endpoint until then, what was cached included; None: no endpoint told any."""
    resolved: Share | None
    """Of all runs together; None: this checkpoint was neither evaluated nor analysed."""
    resolved_of_seeds: Estimate | None
    label_nll: Estimate | None
    """On own states; None: this checkpoint was not analysed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One run at one iteration."""

    labels: int
    label_tokens: int | None
    teacher_tokens: int | None
    resolved: Share | None
    label_nll: Estimate | None


def scaling_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """Raises UserError: a run is damaged."""
    points = scaling_points(list(dict.fromkeys(each.run for each in analyses)))
    if not points:
        return []
    table = Table(
        name="scaling",
        title="Resolved and label NLL (nats per token) against labels and the teacher's tokens",
        columns=(
            Column(title="arm"),
            Column(title="iteration"),
            Column(title="seeds"),
            Column(title="labels learned"),
            Column(title="tokens of labels", unit="tokens"),
            Column(title="teacher's tokens", unit="tokens"),
            Column(title="resolved", unit="share"),
            Column(title="mean of seeds", unit="share"),
            Column(title="label NLL, own states", unit="nats per token"),
        ),
        rows=tuple(map(_row, points)),
        notes=(
            "Of stored evaluations and analyses; labels and tokens add up over iterations, and are means of the runs. "
            "Runs whose recipes differ in the seed alone are one arm: intervals are 95 %, Student's t over seeds; of "
            "one run alone that of its label NLL is over trajectories.",
        ),
    )
    return [table]


def scaling_points(runs: Iterable[Path]) -> list[ScalingPoint]:
    """By arm, in the order of iterations; those that were evaluated or analysed. Raises UserError: a run is damaged."""
    arms: dict[str, list[StoredTraining]] = {}
    for run in runs:
        training = stored_training(run)
        arms.setdefault(training.settings, []).append(training)
    return [point for trainings in arms.values() for point in _points(trainings)]


def _points(trainings: Sequence[StoredTraining]) -> list[ScalingPoint]:
    seen = [_seen(training) for training in trainings]
    iterations = sorted({iteration for each in seen for iteration in each})
    name = arm_name([training.name for training in trainings])
    return [
        _point(name, iteration, [each[iteration] for each in seen if iteration in each])
        for iteration in iterations
    ]


def arm_name(names: Sequence[str]) -> str:
    """What runs of one arm have in common.

    >>> arm_name(["sft-seed-0", "sft-seed-1"]), arm_name(["demo"]), arm_name(["a", "b"])
    ('sft', 'demo', 'a, b')
    """
    if len(names) == 1:
        return names[0]
    shared = {_SEED.sub("", name) for name in names}
    return shared.pop() if len(shared) == 1 else ", ".join(names)


def _seen(training: StoredTraining) -> dict[int, _Seen]:
    analysed = {each.iteration: each for each in stored_analyses(training.run)}
    own = {iteration: each for iteration, each in analysed.items() if each.is_whole(OWN)}
    return {
        iteration: _at(training, iteration, own.get(iteration))
        for iteration in sorted({*training.resolved, *own})
    }


def _at(training: StoredTraining, iteration: int, analysis: StoredAnalysis | None) -> _Seen:
    passed = training.until(iteration)
    tokens = [each.label_tokens for each in passed]
    asked = sum((each.asked for each in passed), Usage())
    return _Seen(
        labels=sum(each.labels for each in passed),
        label_tokens=None if None in tokens else sum(each or 0 for each in tokens),
        teacher_tokens=asked.input_tokens + asked.output_tokens or None,
        resolved=training.resolved.get(iteration),
        label_nll=None if analysis is None else label_nll(divergence_of(analysis).own, lambda turn: True),
    )


def _point(arm: str, iteration: int, seen: Sequence[_Seen]) -> ScalingPoint:
    shares = [each.resolved for each in seen if each.resolved is not None and each.resolved.of]
    nlls = [each.label_nll for each in seen if each.label_nll is not None]
    return ScalingPoint(
        arm=arm,
        iteration=iteration,
        seeds=len(seen),
        labels=statistics.fmean(each.labels for each in seen),
        label_tokens=_mean([each.label_tokens for each in seen]),
        teacher_tokens=_mean([each.teacher_tokens for each in seen]),
        resolved=Share(count=sum(each.count for each in shares), of=sum(each.of for each in shares))
        if shares
        else None,
        resolved_of_seeds=over_seeds([each.count / each.of for each in shares]) if len(shares) > 1 else None,
        label_nll=nlls[0] if len(nlls) == 1 else over_seeds([each.value for each in nlls]),
    )


def over_seeds(values: Sequence[float]) -> Estimate | None:
    """Their mean, with Student's t interval of 95 %; None: there is no value.

    Of .6, .7 and .8 the mean is .7 and its standard error .1 / √3; t(2) = 4.303.

    >>> estimate = over_seeds([0.6, 0.7, 0.8])
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.452, 0.948)
    """
    if not values:
        return None
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(value=mean, low=None, high=None)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(value=mean, low=mean - half, high=mean + half)


def _mean(values: Sequence[int | None]) -> float | None:
    """None: one is not known."""
    known = [each for each in values if each is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _row(point: ScalingPoint) -> tuple[Cell, ...]:
    return (
        point.arm,
        point.iteration,
        point.seeds,
        _whole(point.labels),
        _whole(point.label_tokens),
        _whole(point.teacher_tokens),
        point.resolved,
        point.resolved_of_seeds,
        point.label_nll,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
