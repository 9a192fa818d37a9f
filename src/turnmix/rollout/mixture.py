"""Who acts: the student-teacher mixtures (paper Eq. 8 and 9).

In: an iteration (from 1) and one trajectory's own seeded generator. Out: the indicator of that trajectory,
turn index (from 0) and its state -> `student` or `teacher`. For the mixtures here it depends on the generator's seed,
the iteration and the turn alone, never on what happened before it; one of the user's own may look at the state.

What shares and prefixes they draw, by which schedule: `shares` and `prefixes`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

from pydantic import model_validator

from turnmix.core.credentials import masked
from turnmix.core.doors import DoorSettings
from turnmix.core.plugins import is_plugin_name, telling_faults
from turnmix.core.trajectory import Actor, State
from turnmix.rollout.actors import Actors as Actors
from turnmix.rollout.prefixes import (
    AggrevateMixture,
    StudentPrefixSchedule,
    TeacherPrefixMixture,
    TeacherPrefixSchedule,
)
from turnmix.rollout.shares import DaggerMixture, ShareSchedule, TrajectoryMixture

OfSchedule = Mapping[str, tuple[str, ...]]


class Mixture(Protocol):
    """A rule for who acts."""

    def beta(self, iteration: int) -> float | None:
        """The nominal teacher share of `iteration` (from 1); None where the rule has no such number."""
        ...

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        """The indicator of one trajectory. It owns `generator` from now on."""
        ...


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


class ScheduledMixtureSettings(MixtureSettings):
    """A mixture whose schedule says which of its parameters count; those of other schedules are null."""

    of_schedule: ClassVar[OfSchedule] = {}
    """Schedule -> the parameters that not all schedules have."""

    schedule: str
    """How who acts changes from iteration to iteration."""

    @model_validator(mode="after")
    def _of_its_schedule(self) -> ScheduledMixtureSettings:
        """Fill in what its schedule has; what was given stays the only thing that counts as set."""
        mine = self.of_schedule[self.schedule]
        for name in dict.fromkeys(name for names in self.of_schedule.values() for name in names):
            value = getattr(self, name)
            if name not in mine and value is not None:
                owners = [schedule for schedule, names in self.of_schedule.items() if name in names]
                raise ValueError(
                    f"mixture.{name} = {value}: the schedule {self.schedule} has no {name}: set it to null, or "
                    f"mixture.schedule to {' or '.join(owners)}"
                )
            if name in mine and value is None:
                object.__setattr__(self, name, getattr(self.make(), name))
        return self

    def _parameters(self) -> dict[str, Any]:
        """What the mixture is made of: its fields, without null."""
        return self.model_dump(exclude={"kind"}, exclude_none=True)


class DaggerMixtureSettings(ScheduledMixtureSettings):
    """Each turn anew: the teacher with probability β_i, else the student."""

    of_schedule: ClassVar[OfSchedule] = {
        "linear": ("decay", "floor"),
        "exponential": ("decay", "floor"),
        "step": ("decay", "floor", "every"),
        "constant": (),
    }

    kind: Literal["dagger"] = "dagger"
    """Who acts."""
    schedule: ShareSchedule = "linear"
    """How the teacher's probability falls from iteration to iteration. linear: by decay; exponential: to (1 − decay) of
    what it was; step: by decay after every so many iterations; constant: not at all."""
    start: float = 1.0
    """The teacher's probability in the first iteration; from 0 to 1."""
    decay: float | None = None
    """What it loses per iteration, 0.2 where nothing is said; 0 or more, and at most 1 by the schedule exponential;
    null by the schedule constant."""
    floor: float | None = None
    """It never falls below this, 0.6 where nothing is said; from 0 to start; null by the schedule constant."""
    every: int | None = None
    """How many iterations share one probability by the schedule step, 2 where nothing is said; else null."""

    def make(self) -> Mixture:
        return DaggerMixture(**self._parameters())


class AggrevateMixtureSettings(ScheduledMixtureSettings):
    """A student prefix of κ turns, then the teacher."""

    of_schedule: ClassVar[OfSchedule] = {"shift": ("shift",), "uniform": ("growth",), "growing": ("growth",)}

    kind: Literal["aggrevate"] = "aggrevate"
    """Who acts."""
    schedule: StudentPrefixSchedule = "shift"
    """How prefixes grow. shift: the probability of long ones does; uniform: all up to the longest of the iteration are
    alike, and that grows; growing: each is the longest of the iteration."""
    support: tuple[int, int] = (0, 10)
    """The shortest and the longest student prefix, in turns."""
    shift: float | None = None
    """By the schedule shift: by how much the longest prefix gains on the shortest per iteration, as a factor from 1 to
    1000, 4 where nothing is said; else null."""
    growth: int | None = None
    """By the schedules uniform and growing: by how many turns the iteration's longest prefix grows, from the shortest
    on; 1 or more, 2 where nothing is said; else null."""

    def make(self) -> Mixture:
        return AggrevateMixture(**self._parameters())


class TeacherPrefixMixtureSettings(ScheduledMixtureSettings):
    """A teacher prefix, then the student."""

    of_schedule: ClassVar[OfSchedule] = {"shrinking": ("shrink",), "uniform": ()}

    kind: Literal["teacher_prefix"] = "teacher_prefix"
    """Who acts."""
    schedule: TeacherPrefixSchedule = "shrinking"
    """shrinking: the prefix is the longest in the first iteration, and gets shorter; uniform: it is drawn anew for each
    trajectory, all lengths alike."""
    support: tuple[int, int] = (0, 10)
    """The shortest and the longest teacher prefix, in turns."""
    shrink: int | None = None
    """By the schedule shrinking: by how many turns it gets shorter per iteration; 1 or more, 2 where nothing is said;
    else null."""
    student_turns: int | None = None
    """How many turns the student then has, before the teacher goes on; null: all to the end."""

    def make(self) -> Mixture:
        return TeacherPrefixMixture(**self._parameters())


class TrajectoryMixtureSettings(MixtureSettings):
    """Each trajectory anew: the student on every turn, or the teacher."""

    kind: Literal["trajectory"] = "trajectory"
    """Who acts."""
    student_share: float = 0.5
    """The probability that it is the student's (GKD's λ); from 0 to 1."""

    def make(self) -> Mixture:
        return TrajectoryMixture(student_share=self.student_share)


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
    "teacher_prefix": TeacherPrefixMixtureSettings,
    "trajectory": TrajectoryMixtureSettings,
    "teacher": TeacherMixtureSettings,
    "student": StudentMixtureSettings,
}
"""The kinds that come with the package."""
