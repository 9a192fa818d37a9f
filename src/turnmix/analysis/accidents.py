"""What a student makes of an accident: the same tasks after one scripted action that breaks something, after one that
looks alike and is harmless, and with none.

In: analyses. Out: resolved of all tasks, by accident, with how often it happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.analysis.agreement import judged
from turnmix.analysis.stored import StoredAnalysis, checkpoint_titles
from turnmix.analysis.table import Cell, Column, Share, Table
from turnmix.core.trajectory import Trajectory
from turnmix.store.analysis_directory import OWN

KINDS = ("harmless", "breaking")


def accident_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """None where no accident happened."""
    rows: list[tuple[Cell, ...]] = []
    for analysis, title in zip(analyses, checkpoint_titles(analyses), strict=True):
        rolled_out = {kind: analysis.rollouts(kind) for kind in KINDS}
        if not any(rolled_out.values()):
            continue
        rows += [
            _row(f"{title}, {name}", trajectories)
            for name, trajectories in {"none": analysis.rollouts(OWN), **rolled_out}.items()
        ]
    if not rows:
        return []
    table = Table(
        name="accidents",
        title="Accidents: resolved after one scripted action",
        columns=(
            Column(title="student, accident"),
            Column(title="resolved", unit="share"),
            Column(title="happened", unit="share"),
            Column(title="resolved where it did", unit="share"),
        ),
        rows=tuple(rows),
        notes=(
            "A stress test: the student acts alone, greedily, but for one action of nobody's at a turn drawn for each "
            "task, the same for all students. It does not happen where the trajectory ends before, or where it is not "
            "possible.",
        ),
    )
    return [table]


def has_accident(trajectory: Trajectory) -> bool:
    """Did one happen in it?"""
    return any(turn.actor == "accident" for turn in trajectory.turns)


def _row(name: str, trajectories: Sequence[Trajectory]) -> tuple[Cell, ...]:
    ended = [each for each in trajectories if judged(each)]
    befallen = [each for each in ended if has_accident(each)]
    return (
        name,
        resolved_share(ended),
        Share(count=len(befallen), of=len(ended)) if befallen else None,
        resolved_share(befallen) if befallen else None,
    )


def resolved_share(trajectories: Sequence[Trajectory]) -> Share:
    """Of those that the agent ended."""
    return Share(
        count=sum(bool(each.verdict and each.verdict.resolved) for each in trajectories), of=len(trajectories)
    )
