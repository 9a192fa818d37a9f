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
from turnmix.methods.filters import FilterName
from turnmix.methods.objective_settings import ObjectiveKind, ObjectiveSettings
from turnmix.rollout.mixture import MixtureKind, MixtureSettings


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
    title: str
    mixture: Callable[[], MixtureSettings]
    """Makes the settings used where a recipe says nothing of the mixture."""
    mixtures: tuple[MixtureKind, ...]
    """Who may act for it to be this method: its own mixture, and those that are cases of it."""
    filter: FilterName
    """Used where a recipe says nothing of the filter."""
    refused_filters: Mapping[FilterName, str] = field(default_factory=dict)
    """Filters that leave it nothing to learn, with the reason."""
    doubtful_filters: Mapping[FilterName, str] = field(default_factory=dict)
    """Filters that change what it learns, with what is told of them."""
    label: bool
    """Is the teacher asked in the student's states too?"""
    objective: ObjectiveKind = "cross_entropy"
    """What its transitions are taught with. `reverse_kl` needs a teacher that gives log-probabilities."""
    samples_per_task: int = 1
    """Rollouts of one task; used where a recipe says nothing of it."""
    least_samples_per_task: int = 1
    """With fewer there is nothing to learn."""
    transitions: Transitions
    acts: str
    """Who acts, in words: a column of the table of methods. So are the next two."""
    taught: str
    weight: str
