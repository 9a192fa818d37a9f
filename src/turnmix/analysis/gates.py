"""Can resolved tasks differ between methods here? Gates that a setting passes before any methods are compared in it.

They are of a student that learned from the expert's own trajectories (SFT), of the expert, and of no other method, on
tasks to develop on. In: analyses of SFT runs. Out: a table a run, each gate with what was asked and what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from turnmix.analysis.agreement import judged
from turnmix.analysis.divergence import divergence_of
from turnmix.analysis.judged_turns import agreement, num_states
from turnmix.analysis.outcomes import ByTask, measured, resolved_by_task
from turnmix.analysis.statistics.comparison import compare
from turnmix.analysis.stored import StoredAnalysis, checkpoint_titles, stored_analyses
from turnmix.analysis.table import Column, Estimate, Share, Table
from turnmix.core.trajectory import Trajectory
from turnmix.evaluation.interval import wilson
from turnmix.store.analysis_directory import OWN, RESAMPLED, RESCUED, TEACHER

_NOTES = (
    "Asked of values, whose 95 % intervals are shown beside, of so many states, trajectories or tasks; differences are "
    "paired by task. Half the budget: the checkpoint of half the iterations, where it was analysed.",
    "Off its path: from the student's first deviation on, the expert takes every step. Resampled: the tasks in which "
    "it fails greedily, once more with the temperature of its rollouts.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One of them, with what was found."""

    name: str
    asked: str
    found: Estimate | None
    """None: what it needs was not measured, or there was nothing to measure it on."""
    of: int
    """States, trajectories or tasks behind it."""
    passes: bool | None
    """None: nothing is known, or nothing is asked."""


def gate_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """One for each run, of its latest checkpoint that was analysed for it. Raises UserError: something is damaged."""
    latest = {each.run: each for each in sorted(analyses, key=lambda each: each.iteration)}
    found = [each for each in latest.values() if RESCUED in each.rollout_names]
    return [
        _table(gates_of(each), title) for each, title in zip(found, checkpoint_titles(found), strict=True)
    ]


def gates_of(analysis: StoredAnalysis) -> list[Gate]:
    """Those of one checkpoint, and before them what base and expert do, of which nothing is asked."""
    divergence = divergence_of(analysis)
    own, rescued, resampled = (_by_id(analysis, name) for name in (OWN, RESCUED, RESAMPLED))
    failed = {task for task, trajectory in own.items() if not _is_resolved(trajectory)}
    deviating = {each.task_id for each in divergence.own if each.deviates}
    again = [trajectory for task, trajectory in resampled.items() if task in failed]
    taken_over = [trajectory for task, trajectory in rescued.items() if task in deviating]
    earlier = {each.iteration: each for each in stored_analyses(analysis.run)}
    base = earlier.get(0)
    half = None if analysis.iteration % 2 else earlier.get(analysis.iteration // 2)
    return [
        _share("base student resolves", _resolved(base)),
        _share("expert alone resolves", _resolved_share(_ended(analysis.rollouts(TEACHER)))),
        Gate(
            name="agreement, the teacher's states",
            asked="≥ 90 %",
            found=(agreed := agreement(divergence.teacher, lambda turn: True)),
            of=num_states(divergence.teacher, lambda turn: True),
            passes=None if agreed is None else agreed.value >= 0.9,
        ),
        _share(
            "SFT resolves",
            _resolved_share(list(own.values())),
            "30 to 80 %",
            lambda share: 0.3 <= share <= 0.8,
        ),
        _difference(
            "more than at half the budget",
            own.values(),
            () if half is None else half.rollouts(OWN),
            "> 0 points",
            lambda points: points > 0,
        ),
        _share(
            "trajectories that deviate",
            Share(count=len(deviating), of=len(divergence.own)),
            "≥ 50 %",
            lambda share: share >= 0.5,
        ),
        _share(
            "fails again when resampled",
            Share(count=sum(not _is_resolved(each) for each in again), of=len(again)),
            "≤ 60 %",
            lambda share: share <= 0.6,
        ),
        _difference(
            "expert's headroom off the path",
            rescued.values(),
            own.values(),
            "≥ 15 points",
            lambda points: points >= 0.15,
        ),
        _share(
            "expert resolves after deviation",
            _resolved_share(taken_over),
            "≥ 95 %",
            lambda share: share >= 0.95,
        ),
    ]


def _table(gates: Sequence[Gate], title: str) -> Table:
    words = {True: "yes", False: "no", None: None}
    asked = [each for each in gates if each.asked]
    failed = [each.name for each in asked if each.passes is False]
    missing = [each.name for each in asked if each.passes is None]
    said = "It passes all gates."
    if missing:
        said = f"Not measured: {'; '.join(missing)}."
    if failed:
        said = f"It does not pass {len(failed)} of {len(asked)} gates: {'; '.join(failed)}."
    return Table(
        name="gates",
        title=f"Gates: {title}",
        columns=(
            Column(title="gate"),
            Column(title="found", unit="share"),
            Column(title="of"),
            Column(title="asked"),
            Column(title="passes"),
        ),
        rows=tuple(
            (
                each.name,
                each.found,
                each.of,
                each.asked or None,
                words[each.passes] if each.asked else None,
            )
            for each in gates
        ),
        notes=(said, *_NOTES),
    )


def _share(
    name: str,
    share: Share,
    asked: str = "",
    passes: Callable[[float], bool] | None = None,
) -> Gate:
    low, high = wilson(share.count, share.of)
    value = share.value
    return Gate(
        name=name,
        asked=asked,
        found=None if value is None else Estimate(value=value, low=low, high=high),
        of=share.of,
        passes=None if value is None or passes is None else passes(value),
    )


def _difference(
    name: str,
    a: Iterable[Trajectory],
    b: Iterable[Trajectory],
    asked: str,
    passes: Callable[[float], bool],
) -> Gate:
    """What trajectories `a` resolve more than `b`, of the tasks that both have."""
    of_a, of_b = resolved_by_task(a), resolved_by_task(b)
    num_tasks = len(_counted(of_a) & _counted(of_b))
    if not num_tasks:
        return Gate(name=name, asked=asked, found=None, of=0, passes=None)
    found = compare(measured("a", "share", {0: of_a}), measured("b", "share", {0: of_b}))
    return Gate(
        name=name,
        asked=asked,
        found=Estimate(value=found.difference, low=found.low, high=found.high),
        of=num_tasks,
        passes=passes(found.difference),
    )


def _counted(found: ByTask) -> set[str]:
    return {task for task, (_, below) in found.items() if below > 0}


def _by_id(analysis: StoredAnalysis, name: str) -> dict[str, Trajectory]:
    """By task; those that the agent ended."""
    return {each.task_id: each for each in _ended(analysis.rollouts(name))}


def _ended(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    return [each for each in trajectories if judged(each)]


def _resolved(analysis: StoredAnalysis | None) -> Share:
    return _resolved_share(_ended(() if analysis is None else analysis.rollouts(OWN)))


def _is_resolved(trajectory: Trajectory) -> bool:
    return bool(trajectory.verdict and trajectory.verdict.resolved)


def _resolved_share(trajectories: Sequence[Trajectory]) -> Share:
    return Share(count=sum(map(_is_resolved, trajectories)), of=len(trajectories))
