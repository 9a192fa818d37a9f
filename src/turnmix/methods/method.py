"""What a method is: one row of paper Table 2. The loop, the trainer and the store know no method by name.

A method says who acts, which trajectories are kept, how what happened (trajectories) becomes what is taught
(transitions, paper Eq. 11 and 14), and which objective it is taught with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import Transition
from turnmix.core.untaught import Untaught
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import MixtureSettings
from turnmix.training.objective_settings import CrossEntropySettings, ObjectiveSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """What a batch of trajectories teaches."""

    transitions: list[Transition]
    untaught: tuple[Untaught, ...] = ()
    """Targets that nobody should learn."""
    figures: Mapping[str, int] = field(default_factory=dict)
    """What the run's summary tells of it, such as how much was left out."""


Transitions = Callable[[Sequence[Trajectory], ObjectiveSettings], Taught]
"""Kept trajectories and the objective's settings -> what is taught."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One post-training method."""

    name: str
    title: str = ""
    """How the table of methods calls it; left out, by its name."""
    mixture: MixtureSettings
    """Who acts, where a recipe says nothing of it."""
    other_mixtures: tuple[str, ...] = ()
    """Kinds of mixtures that are cases of its own, and may act instead of it."""
    filter: str
    """Which trajectories are kept, where a recipe says nothing of it."""
    refused_filters: Mapping[str, str] = field(default_factory=dict)
    """Filters that leave it nothing to learn, with the reason."""
    doubtful_filters: Mapping[str, str] = field(default_factory=dict)
    """Filters that change what it learns, with what is told of them."""
    label: bool | LabelGate
    """Is the teacher asked in the student's states too? A gate is asked in each of them: then only some labels are
    bought. On a teacher turn the label is what it did, for nothing."""
    objective: ObjectiveSettings = field(default_factory=CrossEntropySettings)
    """What its transitions are taught with."""
    refused_estimates: Mapping[str, str] = field(default_factory=dict)
    """Estimates of its objective that it cannot be taught with, with the reason."""
    samples_per_task: int = 1
    """Rollouts of one task; used where a recipe says nothing of it."""
    least_samples_per_task: int = 1
    """With fewer there is nothing to learn."""
    transitions: Transitions
    acts: str = ""
    """Who acts, in words: a column of the table of methods. So are the next two."""
    taught: str = ""
    weight: str = ""

    def __post_init__(self) -> None:
        """Raises TypeError: a field is of another kind than it must be."""
        must_be: dict[str, tuple[bool, str]] = {
            "mixture": (
                isinstance(self.mixture, MixtureSettings),
                "settings, such as StudentMixtureSettings() of turnmix.rollout.mixture",
            ),
            "objective": (
                isinstance(self.objective, ObjectiveSettings),
                "settings, such as CrossEntropySettings() of turnmix.training.objective_settings",
            ),
            "filter": (
                isinstance(self.filter, str),
                "a name: 'resolved', or 'my_methods:keeps' for a function of your own",
            ),
            "label": (
                isinstance(self.label, bool) or callable(self.label),
                "True, False, or a function from a state to either",
            ),
            "transitions": (
                callable(self.transitions),
                "a function from trajectories and the objective's settings to a Taught",
            ),
        }
        for name, (is_so, wanted) in must_be.items():
            if not is_so:
                raise TypeError(
                    f"Method {self.name!r}: {name} is {getattr(self, name)!r}: it must be {wanted}"
                )
