"""What a comparison compares, by name: of each task a numerator and a denominator.

In: trajectories of a student, with scores where an outcome needs them. Out: by task what its trajectories come to, such
as nats and tokens; or `Measured`, the same of all seeds of an arm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnmix.analysis.agreement import judged
from turnmix.analysis.ended_rollouts import has_accident
from turnmix.analysis.judged_turns import JudgedTrajectory, JudgedTurn, judged_trajectories
from turnmix.analysis.remembered import remembered
from turnmix.analysis.scored import ScoredTrajectory
from turnmix.analysis.statistics.measured import Measured
from turnmix.analysis.stored import StoredAnalysis
from turnmix.core.trajectory import Trajectory

Part = tuple[float, float]
"""A numerator and its denominator."""
MISSING: Part = (math.nan, math.nan)
ByTask = Mapping[str, Part]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One of them."""

    title: str
    rollout: str
    """Of which rollout of an analysis."""
    instrument: str
    """Which instrument of `turnmix analyse` makes it."""
    unit: str
    """`share`, or `nats per token`."""
    is_lower_better: bool
    part: Callable[[ScoredTrajectory], Part]
    """What one trajectory comes to."""


def _resolved(scored: ScoredTrajectory) -> Part:
    verdict = scored.trajectory.verdict
    return MISSING if verdict is None else (float(verdict.resolved), 1.0)


def _resolved_after_accident(scored: ScoredTrajectory) -> Part:
    """One that ended before its accident is missing: there was none to recover from."""
    return _resolved(scored) if has_accident(scored.trajectory) else MISSING


def _label_nll(scored: ScoredTrajectory) -> Part:
    return _nll(turn for each in judged_trajectories([scored]) for turn in each.turns)


def _label_nll_after_deviation(scored: ScoredTrajectory) -> Part:
    return _nll(
        turn for each in judged_trajectories([scored]) for turn in each.turns if turn.is_after_deviation
    )


def _nll(turns: Iterable[JudgedTurn]) -> Part:
    judged_ones = [(turn.nll, turn.tokens) for turn in turns if turn.nll is not None]
    return math.fsum(nll for nll, _ in judged_ones), float(sum(tokens for _, tokens in judged_ones))


def _agreement_of_actions(scored: ScoredTrajectory) -> Part:
    return _agreement(judged_trajectories([scored]))


def _agreement_of_scores(scored: ScoredTrajectory) -> Part:
    return _agreement(judged_trajectories([scored], by_greedy=True))


def _agreement(trajectories: Iterable[JudgedTrajectory]) -> Part:
    told = [turn.agrees for each in trajectories for turn in each.turns if turn.agrees is not None]
    return float(sum(told)), float(len(told))


def _of_divergence(title: str, rollout: str, part: Callable[[ScoredTrajectory], Part], unit: str) -> Outcome:
    return Outcome(
        title=title,
        rollout=rollout,
        instrument="divergence",
        unit=unit,
        is_lower_better=unit != "share",
        part=part,
    )


def _of_accident(kind: str) -> Outcome:
    return Outcome(
        title=f"resolved after one {kind} accident",
        rollout=kind,
        instrument="accidents",
        unit="share",
        is_lower_better=False,
        part=_resolved_after_accident,
    )


OUTCOMES: Mapping[str, Outcome] = {
    "own_state_label_nll": _of_divergence("label NLL on own states", "own", _label_nll, "nats per token"),
    "own_state_label_nll_after_deviation": _of_divergence(
        "label NLL on own states after the first deviation",
        "own",
        _label_nll_after_deviation,
        "nats per token",
    ),
    "agreement_on_own_states": _of_divergence(
        "agreement on own states", "own", _agreement_of_actions, "share"
    ),
    "agreement_on_teacher_states": _of_divergence(
        "agreement on the teacher's states", "teacher", _agreement_of_scores, "share"
    ),
    "resolved": _of_divergence("resolved", "own", _resolved, "share"),
    "resolved_after_breaking": _of_accident("breaking"),
    "resolved_after_harmless": _of_accident("harmless"),
}
"""Name -> what it is."""


def by_task(names: Sequence[str], analysis: StoredAnalysis) -> dict[str, ByTask]:
    """What each task comes to in a stored analysis, on each of these outcomes; nothing where a rollout is not there."""
    return {name: dict(_parts_of(analysis, OUTCOMES[name].rollout)[name]) for name in names}


@remembered
def _parts_of(analysis: StoredAnalysis, rollout: str) -> dict[str, ByTask]:
    """On all outcomes that are of this rollout."""
    scored = analysis.scored(rollout)
    return {name: sums_of(each, scored) for name, each in OUTCOMES.items() if each.rollout == rollout}


def resolved_by_task(trajectories: Iterable[Trajectory]) -> ByTask:
    """The same of trajectories that nobody analysed."""
    unscored = (ScoredTrajectory(trajectory=each, scores=(None,) * len(each.turns)) for each in trajectories)
    return sums_of(OUTCOMES["resolved"], unscored)


def sums_of(outcome: Outcome, scored: Iterable[ScoredTrajectory]) -> ByTask:
    """By task; where it has several trajectories, over them. One that the infrastructure failed is missing."""
    found: dict[str, Part] = {}
    for each in scored:
        trajectory = each.trajectory
        part = outcome.part(each) if judged(trajectory) else MISSING
        before = found.get(trajectory.task_id, MISSING)
        found[trajectory.task_id] = _added(before, part)
    return found


def _added(one: Part, other: Part) -> Part:
    if math.isnan(one[0]):
        return other
    return one if math.isnan(other[0]) else (one[0] + other[0], one[1] + other[1])


def measured(name: str, unit: str, by_seed: Mapping[int, ByTask]) -> Measured:
    """An arm's outcome over its seeds; a task that a seed lacks is missing there."""
    tasks = list(dict.fromkeys(task for found in by_seed.values() for task in found))
    parts = np.array(
        [[found.get(task, MISSING) for task in tasks] for found in by_seed.values()], dtype=np.float64
    ).reshape(len(by_seed), len(tasks), 2)
    return Measured(
        name=name,
        tasks=tasks,
        seeds=list(by_seed),
        numerators=parts[..., 0],
        denominators=parts[..., 1],
        unit=unit,
    )
