"""In: trajectories. Out: those that a person asked for, or a sample of them in the same proportions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnmix.core.trajectory import Trajectory
from turnmix.viewing.transcript import outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a list tells of one trajectory."""

    id: str
    task_id: str
    iteration: int
    num_turns: int
    num_teacher_turns: int
    stop_reason: str
    outcome: str

    @classmethod
    def of(cls, trajectory: Trajectory) -> Row:
        return cls(
            id=trajectory.id,
            task_id=trajectory.task_id,
            iteration=trajectory.iteration,
            num_turns=len(trajectory.turns),
            num_teacher_turns=sum(turn.actor == "teacher" for turn in trajectory.turns),
            stop_reason=trajectory.stop_reason.value,
            outcome=outcome(trajectory),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which trajectories a person asked for; what is None, or False, excludes none."""

    is_resolved: bool | None = None
    """False: those that were judged, and are not resolved."""
    iteration: int | None = None
    stop_reason: str | None = None
    task: str | None = None
    """A part of the task's id."""

    @property
    def is_all(self) -> bool:
        return self == Choice()

    def holds(self, row: Row) -> bool:
        """Was it asked for?"""
        is_resolved = row.outcome == "resolved"
        return (
            (self.is_resolved is None or (self.is_resolved == is_resolved and row.outcome != "not judged"))
            and self.iteration in (None, row.iteration)
            and self.stop_reason in (None, row.stop_reason)
            and (self.task is None or self.task in row.task_id)
        )


def fair_sample(rows: Sequence[Row], number: int) -> list[Row]:
    """`number` of the rows, in their order: of each outcome as its share is, evenly from first to last.

    Equal rows give the same sample.
    """
    if len(rows) <= number:
        return list(rows)
    kinds: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        kinds.setdefault(row.outcome, []).append(place)
    exact = {kind: number * len(places) / len(rows) for kind, places in kinds.items()}
    quotas = {kind: int(share) for kind, share in exact.items()}
    # What rounding down left over goes to the largest remainders.
    by_remainder = sorted(kinds, key=lambda kind: (quotas[kind] - exact[kind], kind))
    for kind in by_remainder[: number - sum(quotas.values())]:
        quotas[kind] += 1
    chosen = [
        places[(2 * index + 1) * len(places) // (2 * quotas[kind])]
        for kind, places in kinds.items()
        for index in range(quotas[kind])
    ]
    return [rows[place] for place in sorted(chosen)]


def shortened(text: str, width: int) -> str:
    """The text in `width` characters: its beginning and its end, which tell long ids apart.

    >>> shortened("getmoto__moto.694ce1f4.combine_file__0zyhhzdr", 21)
    'getmoto__m…__0zyhhzdr'
    """
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
