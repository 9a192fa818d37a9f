"""What a student makes of an accident: the same tasks after one scripted action that breaks something, after one that
looks alike and is harmless, and with none.

In: analyses. Out: resolved of all tasks, by accident, with how often it happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.analysis.ended_rollouts import EndedRollout, ended_rollouts, resolved_share
from turnmix.analysis.stored import StoredAnalysis, checkpoint_titles
from turnmix.analysis.table import Cell, Column, Share, Table
from turnmix.store.analysis_directory import OWN

KINDS = ("harmless", "breaking")


def accident_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """None where no accident happened."""
    rows: list[tuple[Cell, ...]] = []
    for analysis, title in zip(analyses, checkpoint_titles(analyses), strict=True):
        if not set(KINDS) & {*analysis.rollout_names}:
            continue
        rows += [
            _row(f"{title}, {name}", ended_rollouts(analysis, rollout))
            for name, rollout in {"none": OWN, **dict(zip(KINDS, KINDS))}.items()
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


def _row(name: str, ended: Sequence[EndedRollout]) -> tuple[Cell, ...]:
    befallen = [each for each in ended if each.has_accident]
    return (
        name,
        resolved_share(ended),
        Share(count=len(befallen), of=len(ended)) if befallen else None,
        resolved_share(befallen) if befallen else None,
    )
