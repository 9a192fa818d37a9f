"""Unresolved trajectories that a person read and labelled: what rules and judges are measured against.

`labelled/trajectories.jsonl.xz` holds them, without tokens and times; `labelled/hand_labels.jsonl` what the reader said
of each, and whether it was held out when the rules were written.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from turnmix.analysis.failures.modes import FailureMode
from turnmix.analysis.failures.unresolved import Unresolved
from turnmix.core.json_text import json_value
from turnmix.core.trajectory import Trajectory
from turnmix.environments.solution_outline import SolutionOutline


@dataclass(frozen=True, slots=True, kw_only=True)
class HandLabelled:
    """One trajectory, read by a person."""

    unresolved: Unresolved
    mode: FailureMode
    reason: str
    is_held_out: bool
    """No rule was changed because of it."""


@lru_cache(maxsize=1)
def labelled_set() -> tuple[HandLabelled, ...]:
    folder = resources.files("turnmix.analysis.failures") / "labelled"
    packed = lzma.decompress((folder / "trajectories.jsonl.xz").read_bytes()).decode()
    rows = {row["id"]: row for row in map(json_value, packed.splitlines())}
    labels = map(json_value, (folder / "hand_labels.jsonl").read_text(encoding="utf-8").splitlines())
    return tuple(
        HandLabelled(
            unresolved=Unresolved(
                trajectory=Trajectory.from_json(rows[label["id"]]["trajectory"]),
                outline=SolutionOutline(
                    paths=frozenset(rows[label["id"]]["solution_paths"]),
                    passing_before=rows[label["id"]]["passing_before"],
                ),
            ),
            mode=FailureMode(label["mode"]),
            reason=label["reason"],
            is_held_out=label["held_out"],
        )
        for label in labels
    )
