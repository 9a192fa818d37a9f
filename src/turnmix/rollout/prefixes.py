"""Mixtures by prefixes: one begins a trajectory, the other goes on.

    aggrevate       the student for κ turns, then the teacher (paper Eq. 9)
    teacher_prefix  the teacher for κ turns, then the student: its mirror

Each draws κ once a trajectory, from a bounded support whose bounds are both included.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from turnmix.core.trajectory import Actor, State
from turnmix.rollout.actors import Actors, from_one

StudentPrefixSchedule = Literal["shift", "uniform", "growing"]
TeacherPrefixSchedule = Literal["shrinking", "uniform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AggrevateMixture:
    """The student for κ turns, then the teacher to the end (paper Eq. 9).

    κ lies in the support low … high. By the schedule shift, iteration 1 draws it uniformly; with every further
    iteration the longest prefix becomes `shift` times likelier against the shortest, those between in proportion:

        P_i(κ) ∝ shift ^ ((i − 1) · (κ − low) / (high − low))

    With support 0 … 2 and shift 4 the weights are 1 : 1 : 1, then 1 : 2 : 4, then 1 : 4 : 16:

    >>> mixture = AggrevateMixture(support=(0, 2), shift=4)
    >>> [[round(p, 3) for p in mixture.prefix_probabilities(iteration)] for iteration in (1, 2, 3)]
    [[0.333, 0.333, 0.333], [0.143, 0.286, 0.571], [0.048, 0.19, 0.762]]

    The other schedules let the longest prefix itself grow, T_max(i) = min(high, low + growth·i): by uniform, κ is drawn
    uniformly from low … T_max(i); by growing, it is T_max(i).

    >>> mixture = AggrevateMixture(support=(0, 3), schedule="uniform", growth=1)
    >>> [[round(p, 3) for p in mixture.prefix_probabilities(iteration)] for iteration in (1, 2)]
    [[0.5, 0.5, 0.0, 0.0], [0.333, 0.333, 0.333, 0.0]]

    The paper leaves support and schedule open: these defaults are TurnMix's own.
    """

    support: tuple[int, int] = (0, 10)
    shift: float = 4.0
    schedule: StudentPrefixSchedule = "shift"
    growth: int = 2
    """Of the schedules uniform and growing."""

    def __post_init__(self) -> None:
        _check_support(self.support)
        if not 1 <= self.shift <= 1000:
            raise ValueError(f"shift must be between 1 (prefixes stay as long) and 1000, not {self.shift}")
        if self.growth < 1:
            raise ValueError(f"growth must be 1 turn or more, not {self.growth}")

    def beta(self, iteration: int) -> None:
        return None

    def longest(self, iteration: int) -> int:
        """The longest prefix that the iteration may have."""
        low, high = self.support
        return high if self.schedule == "shift" else min(high, low + self.growth * from_one(iteration))

    def prefix_probabilities(self, iteration: int) -> list[float]:
        """P_i(κ) for κ = low … high."""
        low, high = self.support
        longest, prefixes = self.longest(iteration), range(low, high + 1)
        if self.schedule == "growing":
            return [float(prefix == longest) for prefix in prefixes]
        if self.schedule == "uniform":
            return [float(prefix <= longest) / (longest - low + 1) for prefix in prefixes]
        # The exponent is taken from the longest prefix down: no weight overflows, however late the iteration.
        per_turn = (from_one(iteration) - 1) / max(1, high - low)
        weights = [self.shift ** (per_turn * (prefix - high)) for prefix in prefixes]
        total = sum(weights)
        return [weight / total for weight in weights]

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        low, high = self.support
        (prefix,) = generator.choices(range(low, high + 1), self.prefix_probabilities(iteration))
        return lambda turn, state: "student" if turn < prefix else "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherPrefixMixture:
    """The teacher for κ turns, then the student: to the end, or for `student_turns` and then the teacher again.

    κ lies in the support low … high. By the schedule shrinking it is the same for all trajectories of an iteration,
    max(low, high − shrink·(i−1)): the student acts in ever more of a trajectory, from its end forward. By uniform it is
    drawn uniformly from low … high.

    >>> [TeacherPrefixMixture(support=(0, 6), shrink=4).prefix(iteration) for iteration in (1, 2, 3)]
    [6, 2, 0]
    """

    support: tuple[int, int] = (0, 10)
    schedule: TeacherPrefixSchedule = "shrinking"
    shrink: int = 2
    """Of the schedule shrinking."""
    student_turns: int | None = None

    def __post_init__(self) -> None:
        _check_support(self.support)
        if self.shrink < 1:
            raise ValueError(f"shrink must be 1 turn or more, not {self.shrink}")
        if self.student_turns is not None and self.student_turns < 1:
            raise ValueError(
                f"student_turns must be 1 or more, or null for all to the end, not {self.student_turns}"
            )

    def beta(self, iteration: int) -> None:
        return None

    def prefix(self, iteration: int) -> int:
        """κ by the schedule shrinking."""
        low, high = self.support
        return max(low, high - self.shrink * (from_one(iteration) - 1))

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        shrunk = self.prefix(iteration)
        prefix = generator.randint(*self.support) if self.schedule == "uniform" else shrunk
        end = None if self.student_turns is None else prefix + self.student_turns

        def actor(turn: int, state: State) -> Actor:
            return "student" if turn >= prefix and (end is None or turn < end) else "teacher"

        return actor


def _check_support(support: tuple[int, int]) -> None:
    low, high = support
    if not 0 <= low <= high:
        raise ValueError(f"support must be [low, high] with 0 <= low <= high, not [{low}, {high}]")
