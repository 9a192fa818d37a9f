"""What one arm scored: for each seed and task a numerator and a denominator.

In: lists by seed and by task. Out: the pairs that two arms have in common, as arrays [seeds, tasks].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnmix.core.errors import UserError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """One outcome of one arm; its value is the sum of the numerators over that of the denominators.

    >>> sft = Measured(name="sft", tasks=["t0", "t1"], seeds=[0], numerators=[[1, 0]], denominators=[[1, 1]])
    >>> sft.value
    0.5
    """

    name: str
    """The arm's, for messages."""
    tasks: list[str]
    seeds: list[int]
    numerators: Floats
    """[seeds, tasks]; 1 or 0 for resolved or not, nats for a label NLL. NaN: missing, for reasons that have
    nothing to do with the student."""
    denominators: Floats
    """[seeds, tasks]; 1 for resolved, tokens for a label NLL. NaN: missing."""
    unit: str = "share"
    """`share`: a difference is one of points. Else, as `nats per token`, it is judged relative to the value."""

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.tasks))
        for field in ("numerators", "denominators"):
            array = np.asarray(getattr(self, field), dtype=np.float64)
            if array.shape != shape:
                raise ValueError(f"{self.name}: {field} must have the shape {shape}, not {array.shape}")
            object.__setattr__(self, field, array)
        for field, names in (("tasks", self.tasks), ("seeds", self.seeds)):
            if len({*names}) != len(names):
                raise ValueError(f"{self.name}: {field} must differ from each other")

    @property
    def value(self) -> float | None:
        """None: nothing was measured."""
        is_there = np.isfinite(self.numerators) & np.isfinite(self.denominators)
        total = float(self.denominators[is_there].sum())
        return float(self.numerators[is_there].sum()) / total if total else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Two arms on the same tasks, seed beside seed: arrays [seeds, tasks], NaN in all where one of them is missing."""

    numerators_a: Floats
    denominators_a: Floats
    numerators_b: Floats
    denominators_b: Floats
    notes: tuple[str, ...]
    """Sentences: what was left out."""

    @property
    def is_there(self) -> NDArray[np.bool_]:
        return np.isfinite(self.numerators_a)

    @property
    def are_truth_values(self) -> bool:
        """Is each numerator 0 or 1, of 1?"""
        return all(
            bool(np.isin(part[self.is_there], allowed).all())
            for part, allowed in (
                (self.numerators_a, (0, 1)),
                (self.numerators_b, (0, 1)),
                (self.denominators_a, (1,)),
                (self.denominators_b, (1,)),
            )
        )


def pair(a: Measured, b: Measured) -> Pairs:
    """The entries that both arms have.

    A seed of both arms makes a pair; seeds of one arm alone are paired in their order, as seeds have no meaning beyond
    their number. Raises UserError where no task is common to both, or nothing was counted on those.
    """
    if a.unit != b.unit:
        raise ValueError(f"{a.name} is measured in {a.unit}, {b.name} in {b.unit}")
    notes = []
    common = [task for task in a.tasks if task in {*b.tasks}]
    if len(common) < max(len(a.tasks), len(b.tasks)):
        left_out = len({*a.tasks} ^ {*b.tasks})
        notes.append(f"{left_out} tasks that only one arm was measured on are left out.")
    shared = [seed for seed in a.seeds if seed in {*b.seeds}]
    alone_a, alone_b = ([seed for seed in arm.seeds if seed not in shared] for arm in (a, b))
    seeds = [*zip(shared, shared), *zip(alone_a, alone_b)]
    if alone_a and alone_b:
        notes.append(
            f"These are paired in this order: {_listed(alone_a)} of {a.name}, {_listed(alone_b)} of {b.name}."
        )
    if len(a.seeds) != len(b.seeds):
        longer, rest = (
            (a, alone_a[len(alone_b) :]) if len(a.seeds) > len(b.seeds) else (b, alone_b[len(alone_a) :])
        )
        notes.append(f"Left out for want of a pair: {_listed(rest)} of {longer.name}.")
    parts = [
        array[
            np.ix_(
                [arm.seeds.index(pair[side]) for pair in seeds], [arm.tasks.index(task) for task in common]
            )
        ]
        for side, arm in enumerate((a, b))
        for array in (arm.numerators, arm.denominators)
    ]
    is_there = np.asarray(np.isfinite(np.stack(parts)).all(axis=0))
    if not is_there.any():
        raise UserError(
            f"{a.name} and {b.name} were not measured on a common task: analyse both on the same tasks"
        )
    for arm, denominators in ((a, parts[1]), (b, parts[3])):
        if not denominators[is_there].sum():
            raise UserError(
                f"{arm.name} has nothing to be compared on the common tasks: analyse more of them"
            )
    # A seed or task without any pair is no unit.
    keep = np.ix_(is_there.any(axis=1), is_there.any(axis=0))
    cut = [np.where(is_there, part, np.nan)[keep] for part in parts]
    return Pairs(
        numerators_a=cut[0],
        denominators_a=cut[1],
        numerators_b=cut[2],
        denominators_b=cut[3],
        notes=tuple(notes),
    )


def _listed(seeds: list[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(str(seed) for seed in seeds)
