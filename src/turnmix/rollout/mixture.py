"""Who acts: the student-teacher mixtures (paper Eq. 8 and 9).

In: an iteration (from 1) and one trajectory's own seeded generator. Out: the indicator of that trajectory,
turn index (from 0) and its state -> `student` or `teacher`. For the mixtures here it depends on the generator's seed,
the iteration and the turn alone, never on what happened before it; one of the user's own may look at the state.

    Eq. 8  DAgger-style     turn t: teacher with probability β_i, else student; independent from turn to turn
    Eq. 9  AggreVaTe-style  the student for κ turns, then the teacher; κ drawn once a trajectory
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from pydantic import model_validator

from turnmix.core.credentials import masked
from turnmix.core.doors import DoorSettings
from turnmix.core.plugins import is_plugin_name, telling_faults
from turnmix.core.trajectory import Actor, State

Actors = Callable[[int, State], Actor]
"""One trajectory's indicator: turn index from 0, and what whoever acts will see -> who acts."""


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
    """Each turn anew: the teacher with probability β_i = max(floor, start − decay·(i−1)) (paper Eq. 8, App. F, where
    start is 1).

    >>> [DaggerMixture().beta(iteration) for iteration in (1, 2, 3, 4)]
    [1.0, 0.8, 0.6, 0.6]
    """

    start: float = 1.0
    decay: float = 0.2
    floor: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ValueError(f"start must be between 0 and 1, not {self.start}")
        if self.decay < 0:
            raise ValueError(f"decay must be 0 or more, not {self.decay}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, not {self.floor}")
        if self.floor > self.start:
            raise ValueError(
                f"floor {self.floor} is above start {self.start}, from which shares only fall: lower it"
            )

    def beta(self, iteration: int) -> float:
        return max(self.floor, self.start - self.decay * (_from_one(iteration) - 1))

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        beta = self.beta(iteration)
        draws: list[float] = []

        def actor(turn: int, state: State) -> Actor:
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
        return lambda turn, state: "student" if turn < prefix else "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherMixture:
    """The teacher on every turn (SFT)."""

    def beta(self, iteration: int) -> float:
        return 1.0

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        return lambda turn, state: "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentMixture:
    """The student on every turn (on-policy methods, evaluation)."""

    def beta(self, iteration: int) -> float:
        return 0.0

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        return lambda turn, state: "student"


class OwnMixture:
    """A mixture of the user's own, held to what a mixture may say; its mistakes are told as its own."""

    def __init__(self, mixture: Mixture, *, name: str) -> None:
        """`name`: the plugin's."""
        self._mixture = mixture
        self._name = name

    def beta(self, iteration: int) -> float | None:
        with telling_faults(self._name):
            beta = self._mixture.beta(iteration)
            if beta is not None and not 0 <= beta <= 1:
                raise ValueError(f"beta({iteration}) is {beta!r}: return a share from 0 to 1, or None")
        return None if beta is None else float(beta)

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        with telling_faults(self._name):
            actors = self._mixture.actors(iteration, generator)

        def actor(turn: int, state: State) -> Actor:
            with telling_faults(self._name):
                found = actors(turn, state)
                if found not in ("student", "teacher"):
                    raise ValueError(f"turn {turn}: {found!r} acts: return 'student' or 'teacher'")
            return found

        return actor


class MixtureSettings(DoorSettings):
    """Who acts. A parameter that its kind does not take is refused; one left out gets its kind's default."""

    kind: str
    """Who acts; set by the method."""

    @property
    def asks_teacher(self) -> bool:
        """May a teacher act?"""
        return True

    def make(self) -> Mixture:
        """The mixture that these describe."""
        raise NotImplementedError(f"{type(self).__name__} has no make(): write one that returns a mixture")

    @model_validator(mode="before")
    @classmethod
    def _of_this_kind(cls, given: Any) -> Any:
        """Older recipes hold null for what another kind has: it is left out. What is not null is refused."""
        if not isinstance(given, dict) or cls not in MIXTURES.values():
            return given
        kind = get_args(cls.model_fields["kind"].annotation)[0]
        for owner, other in MIXTURES.items():
            for name in other.model_fields:
                if name not in cls.model_fields and (value := given.get(name)) is not None:
                    raise ValueError(
                        f"mixture.{name} = {masked(value)}: the {kind} mixture has no {name}; "
                        f"leave it out: it belongs to the {owner} mixture"
                    )
        # null is another word for the default.
        return {name: value for name, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _can_be_made(self) -> MixtureSettings:
        if type(self) in MIXTURES.values():
            self.make()
        return self


class DaggerMixtureSettings(MixtureSettings):
    """Each turn anew: the teacher with probability β_i, else the student."""

    kind: Literal["dagger"] = "dagger"
    """Who acts."""
    start: float = 1.0
    """The teacher's probability in the first iteration; from 0 to 1."""
    decay: float = 0.2
    """What it loses per iteration; 0 or more."""
    floor: float = 0.6
    """It never falls below this; from 0 to start."""

    def make(self) -> Mixture:
        return DaggerMixture(start=self.start, decay=self.decay, floor=self.floor)


class AggrevateMixtureSettings(MixtureSettings):
    """A student prefix, then the teacher."""

    kind: Literal["aggrevate"] = "aggrevate"
    """Who acts."""
    support: tuple[int, int] = (0, 10)
    """The shortest and the longest student prefix, in turns."""
    shift: float = 4.0
    """By how much the longest prefix gains on the shortest per iteration, as a factor from 1 to 1000."""

    def make(self) -> Mixture:
        return AggrevateMixture(support=self.support, shift=self.shift)


class TeacherMixtureSettings(MixtureSettings):
    """The teacher on every turn."""

    kind: Literal["teacher"] = "teacher"
    """Who acts."""

    def make(self) -> Mixture:
        return TeacherMixture()


class StudentMixtureSettings(MixtureSettings):
    """The student on every turn."""

    kind: Literal["student"] = "student"
    """Who acts."""

    @property
    def asks_teacher(self) -> bool:
        return False

    def make(self) -> Mixture:
        return StudentMixture()


def make_mixture(settings: MixtureSettings) -> Mixture:
    """The mixture that `settings` describe."""
    with telling_faults(settings.kind):
        mixture = settings.make()
    return OwnMixture(mixture, name=settings.kind) if is_plugin_name(settings.kind) else mixture


MIXTURES: Mapping[str, type[MixtureSettings]] = {
    "dagger": DaggerMixtureSettings,
    "aggrevate": AggrevateMixtureSettings,
    "teacher": TeacherMixtureSettings,
    "student": StudentMixtureSettings,
}
"""The kinds that come with the package."""


def _from_one(iteration: int) -> int:
    if iteration < 1:
        raise ValueError(f"iterations are counted from 1, not {iteration}")
    return iteration
