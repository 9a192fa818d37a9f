"""A trajectory beside what a student says of the teacher's labels in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from turnmix.core.trajectory import Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnScore:
    """How the student judges the teacher's label in one visited state. None: not computed."""

    label_kind: str | None = None
    """What sort of step the label is, as the tasks' world names it; None: it names none."""
    label_tokens: int | None = None
    """Tokens of the label, as the student writes it."""
    label_nll: float | None = None
    """Nats: -log π_student of the whole label, at temperature 1."""
    is_greedy: bool | None = None
    """Is each token of the label the student's likeliest, given those before it?"""
    reverse_kl: float | None = None
    """Nats, over the tokens that the student sampled in this turn: KL(student‖teacher)."""
    reverse_kl_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TurnScore:
        return cls(**{name: data.get(name) for name in cls.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTrajectory:
    """`scores`: one a turn; None where the turn has no label, or nobody scored it."""

    trajectory: Trajectory
    scores: tuple[TurnScore | None, ...]
