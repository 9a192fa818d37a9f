"""Mixtures by shares: the teacher acts with a probability, drawn anew for each turn or once a trajectory.

dagger      each turn: the teacher with probability β_i, else the student (paper Eq. 8)
trajectory  each trajectory: the student's with probability λ, else the teacher's (GKD, 2306.13649)
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from turnmix.core.trajectory import Actor, State
from turnmix.rollout.actors import Actors, from_one

ShareSchedule = Literal["linear", "exponential", "step", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaggerMixture:
    """Each turn anew: the teacher with probability β_i (paper Eq. 8), which falls from `start` by a schedule, and never
    below `floor`:

        linear       start − decay·(i−1)           the paper's (App. F), where start is 1
        exponential  start·(1 − decay)^(i−1)
        step         start − decay·⌊(i−1)/every⌋   `every` iterations share one β
        constant     start

    >>> [DaggerMixture().beta(iteration) for iteration in (1, 2, 3, 4)]
    [1.0, 0.8, 0.6, 0.6]
    >>> [DaggerMixture(schedule="exponential", decay=0.5, floor=0.2).beta(i) for i in (1, 2, 3, 4)]
    [1.0, 0.5, 0.25, 0.2]
    >>> [DaggerMixture(schedule="step", decay=0.5, floor=0, every=2).beta(i) for i in (1, 2, 3, 4)]
    [1.0, 1.0, 0.5, 0.5]
    """

    start: float = 1.0
    decay: float = 0.2
    floor: float = 0.6
    schedule: ShareSchedule = "linear"
    every: int = 2
    """Of the schedule step."""

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ValueError(f"start must be between 0 and 1, not {self.start}")
        if self.schedule == "constant":
            return
        if self.decay < 0:
            raise ValueError(f"decay must be 0 or more, not {self.decay}")
        if self.schedule == "exponential" and self.decay > 1:
            raise ValueError(
                f"decay is the part that a share loses by the schedule exponential: from 0 to 1, not {self.decay}"
            )
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, not {self.floor}")
        if self.floor > self.start:
            raise ValueError(
                f"floor {self.floor} is above start {self.start}, from which shares only fall: lower it"
            )
        if self.every < 1:
            raise ValueError(f"every must be 1 iteration or more, not {self.every}")

    def beta(self, iteration: int) -> float:
        passed = from_one(iteration) - 1
        if self.schedule == "constant":
            return self.start
        if self.schedule == "exponential":
            return max(self.floor, self.start * (1 - self.decay) ** passed)
        if self.schedule == "step":
            passed //= self.every
        return max(self.floor, self.start - self.decay * passed)

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        beta = self.beta(iteration)
        draws: list[float] = []

        def actor(turn: int, state: State) -> Actor:
            while len(draws) <= turn:
                draws.append(generator.random())
            return "teacher" if draws[turn] < beta else "student"

        return actor


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryMixture:
    """Each trajectory anew: all of it the student's with probability `student_share`, GKD's λ, else the teacher's."""

    student_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.student_share <= 1:
            raise ValueError(f"student_share must be between 0 and 1, not {self.student_share}")

    def beta(self, iteration: int) -> float:
        return 1 - self.student_share

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        actor: Actor = "student" if generator.random() < self.student_share else "teacher"
        return lambda turn, state: actor
