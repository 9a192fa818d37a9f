"""What a student lacks: an expert takes over steps of some kinds alone, and what is then left is what the others miss.

In: analyses. Out: resolved tasks of the student alone, and with the expert for each set of kinds.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.analysis.ended_rollouts import EndedRollout, ended_rollouts, resolved_share
from turnmix.analysis.stored import StoredAnalysis, checkpoint_titles
from turnmix.analysis.table import Cell, Column, Share, Table
from turnmix.store.analysis_directory import HEADROOM, OWN


def headroom_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """None where the expert took over nothing."""
    rows: list[tuple[Cell, ...]] = []
    for analysis, title in zip(analyses, checkpoint_titles(analyses), strict=True):
        names = [name for name in analysis.rollout_names if name.startswith(f"{HEADROOM}-")]
        if not names:
            continue
        rows.append(_row(f"{title} alone", ended_rollouts(analysis, OWN)))
        for name in names:
            kinds = name.removeprefix(f"{HEADROOM}-").replace(",", ", ")
            rows.append(_row(f"{title}, expert does {kinds}", ended_rollouts(analysis, name)))
    if not rows:
        return []
    table = Table(
        name="headroom",
        title="Headroom: resolved when an expert takes over some kinds of steps",
        columns=(
            Column(title="who acts"),
            Column(title="resolved", unit="share"),
            Column(title="expert's turns", unit="share"),
        ),
        rows=tuple(rows),
        notes=(
            "The student acts greedily; where the expert's own next step is of one of these kinds, it takes it. What "
            "the expert's edits gain is what the student cannot write; what its restoring gains is what it does not "
            "recover from.",
        ),
    )
    return [table]


def _row(name: str, ended: Sequence[EndedRollout]) -> tuple[Cell, ...]:
    return (
        name,
        resolved_share(ended),
        Share(count=sum(each.num_teacher_turns for each in ended), of=sum(each.num_turns for each in ended)),
    )
