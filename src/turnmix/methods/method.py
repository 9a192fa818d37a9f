"""What a method is: one row of paper Table 2. The loop, the trainer and the store know no method by name.

A method says who acts, which trajectories are kept, and how what happened (trajectories) becomes what is
taught (transitions, paper Eq. 11 and 14).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import Transition
from turnmix.methods.filters import FilterName
from turnmix.rollout.mixture import MixtureSettings

Transitions = Callable[[Sequence[Trajectory], random.Random], list[Transition]]
"""Kept trajectories and a seeded generator, for a method that draws what it teaches -> what is taught."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One post-training method."""

    name: str
    title: str
    mixture: Callable[[], MixtureSettings]
    """Makes the settings used where a recipe says nothing of the mixture."""
    filter: FilterName
    """Used where a recipe says nothing of the filter."""
    label: bool
    """Is the teacher asked in the student's states too?"""
    transitions: Transitions
    acts: str
    """Who acts, in words: a column of the table of methods. So are the next two."""
    taught: str
    weight: str
