"""Who acts: the student-teacher mixtures (paper Eq. 8 and 9).

In: an iteration (from 1) and one trajectory's own seeded generator. Out: the indicator of that trajectory,
turn index (from 0) -> `student` or `teacher`. The indicator of a turn depends on the generator's seed, the
iteration and the turn alone, never on what happened before it.

    Eq. 8  DAgger-style     turn t: teacher with probability β_i, else student; independent from turn to turn
    Eq. 9  AggreVaTe-style  the student for κ turns, then the teacher; κ drawn once a trajectory
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import model_validator

from turnmix.core.settings import Settings
from turnmix.core.trajectory import Actor

MixtureKind = Literal["dagger", "aggrevate", "teacher", "student"]
Actors = Callable[[int], Actor]
"""One trajectory's indicator: turn index from 0 -> who acts."""


class Mixture(Protocol):
    """A rule for who acts."""

    def beta(self, iteration: int) -> float | None:
        """The nominal teacher share of `iteration` (from 1); None where the rule has no such number."""
        ...

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        """The indicator of one trajectory. It owns `generator` from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DaggerMixture:
    """Each turn anew: the teacher with probability β_i = max(floor, 1 − decay·(i−1)) (paper Eq. 8, App. F).

    >>> [DaggerMixture().beta(iteration) for iteration in (1, 2, 3, 4)]
    [1.0, 0.8, 0.6, 0.6]
    """

    decay: float = 0.2
    floor: float = 0.6

    def __post_init__(self) -> None:
        if self.decay < 0:
            raise ValueError(f"decay must be 0 or more, not {self.decay}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, not {self.floor}")

    def beta(self, iteration: int) -> float:
        return max(self.floor, 1 - self.decay * (_from_one(iteration) - 1))

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        beta = self.beta(iteration)
        draws: list[float] = []

        def actor(turn: int) -> Actor:
            while len(draws) <= turn:
                draws.append(generator.random())
            return "teacher" if draws[turn] < beta else "student"

        return actor


@dataclass(frozen=True, slots=True, kw_only=True)
class AggrevateMixture:
    """The student for κ turns, then the teacher to the end (paper Eq. 9).

    κ lies in the bounded support low … high, both included. Iteration 1 draws it uniformly; with every
    further iteration the longest prefix becomes `shift` times likelier against the shortest, those between in
    proportion:

        P_i(κ) ∝ shift ^ ((i − 1) · (κ − low) / (high − low))

    With support 0 … 2 and shift 4 the weights are 1 : 1 : 1, then 1 : 2 : 4, then 1 : 4 : 16:

    >>> mixture = AggrevateMixture(support=(0, 2), shift=4)
    >>> [[round(p, 3) for p in mixture.prefix_probabilities(iteration)] for iteration in (1, 2, 3)]
    [[0.333, 0.333, 0.333], [0.143, 0.286, 0.571], [0.048, 0.19, 0.762]]

    The paper leaves support and schedule open: these defaults are TurnMix's own.
    """

    support: tuple[int, int] = (0, 10)
    shift: float = 4.0

    def __post_init__(self) -> None:
        low, high = self.support
        if not 0 <= low <= high:
            raise ValueError(f"support must be [low, high] with 0 <= low <= high, not [{low}, {high}]")
        if not 1 <= self.shift <= 1000:
            raise ValueError(f"shift must be between 1 (prefixes stay as long) and 1000, not {self.shift}")

    def beta(self, iteration: int) -> None:
        return None

    def prefix_probabilities(self, iteration: int) -> list[float]:
        """P_i(κ) for κ = low … high."""
        low, high = self.support
        # The exponent is taken from the longest prefix down: no weight overflows, however late the iteration.
        per_turn = (_from_one(iteration) - 1) / max(1, high - low)
        weights = [self.shift ** (per_turn * (prefix - high)) for prefix in range(low, high + 1)]
        total = sum(weights)
        return [weight / total for weight in weights]

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        low, high = self.support
        (prefix,) = generator.choices(range(low, high + 1), self.prefix_probabilities(iteration))
        return lambda turn: "student" if turn < prefix else "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherMixture:
    """The teacher on every turn (SFT)."""

    def beta(self, iteration: int) -> float:
        return 1.0

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        return lambda turn: "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentMixture:
    """The student on every turn (on-policy methods, evaluation)."""

    def beta(self, iteration: int) -> float:
        return 0.0

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        return lambda turn: "student"


_DEFAULTS: dict[str, dict[str, Any]] = {
    "dagger": {"decay": 0.2, "floor": 0.6},
    "aggrevate": {"support": (0, 10), "shift": 4.0},
    "teacher": {},
    "student": {},
}


class MixtureSettings(Settings):
    """Who acts. A parameter that its kind does not take is refused; one left out gets its kind's default."""

    kind: MixtureKind = "dagger"
    """dagger: per turn; aggrevate: a student prefix, then the teacher; teacher or student: on every turn."""
    decay: float | None = None
    """dagger: what the teacher's probability, 1 at first, loses per iteration; 0 or more."""
    floor: float | None = None
    """dagger: the teacher's probability never falls below this; from 0 to 1."""
    support: tuple[int, int] | None = None
    """aggrevate: the shortest and the longest student prefix, in turns."""
    shift: float | None = None
    """aggrevate: by how much the longest prefix gains on the shortest per iteration, as a factor from 1 to 1000."""

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        kind = given.get("kind", "dagger")
        return {**(_DEFAULTS.get(kind, {}) if isinstance(kind, str) else {}), **given}

    @model_validator(mode="after")
    def _check(self) -> MixtureSettings:
        taken = _DEFAULTS[self.kind]
        for name in ("decay", "floor", "support", "shift"):
            if (value := getattr(self, name)) is not None and name not in taken:
                owner = next(kind for kind, names in _DEFAULTS.items() if name in names)
                raise ValueError(
                    f"mixture.{name} = {value}: the {self.kind} mixture has no {name}; "
                    f"leave it out: it belongs to the {owner} mixture"
                )
        make_mixture(self)
        return self


def make_mixture(settings: MixtureSettings) -> Mixture:
    """The mixture that `settings` describe."""
    parameters = {name: getattr(settings, name) for name in _DEFAULTS[settings.kind]}
    kinds: dict[str, Callable[..., Mixture]] = {
        "dagger": DaggerMixture,
        "aggrevate": AggrevateMixture,
        "teacher": TeacherMixture,
        "student": StudentMixture,
    }
    return kinds[settings.kind](**parameters)


def _from_one(iteration: int) -> int:
    if iteration < 1:
        raise ValueError(f"iterations are counted from 1, not {iteration}")
    return iteration
