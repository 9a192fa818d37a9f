"""Does a recipe do what its method's name says?

In: a method, and what a recipe says of who acts, what is kept, how often a task is rolled out, and the objective.
Out: nothing, one sentence that refuses it, or sentences about what it may do with care.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from turnmix.methods.filters import FilterName
from turnmix.methods.method import Method
from turnmix.methods.objective_settings import ObjectiveSettings
from turnmix.methods.registry import METHODS
from turnmix.rollout.mixture import MixtureSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a recipe says that a method brings."""

    method: Method
    mixture: MixtureSettings
    filter: FilterName
    samples_per_task: int
    objective: ObjectiveSettings
    dataset: Literal["fresh", "aggregate"]


def check_agreement(choices: Choices) -> None:
    """
    Raises:
        ValueError: the recipe contradicts its method; names the field, its value and the fix.
    """
    method, kind = choices.method, choices.mixture.kind
    if kind not in method.mixtures:
        others = [other.name for other in METHODS.values() if other.mixture().kind == kind]
        always = ", or for the teacher on every turn set mixture.decay to 0" if kind == "teacher" else ""
        raise ValueError(
            f"mixture.kind: {kind!r}: {method.name} learns from rollouts of the mixture "
            f"{' or '.join(map(repr, method.mixtures))}: leave mixture out"
            f"{always if 'dagger' in method.mixtures else ''}, or set method to {' or '.join(others)}"
        )
    if reason := method.refused_filters.get(choices.filter):
        raise ValueError(
            f"data.filter: {choices.filter!r}: {reason}: leave data.filter out, which is {method.filter}"
        )
    if choices.samples_per_task < method.least_samples_per_task:
        raise ValueError(
            f"rollouts.samples_per_task: {choices.samples_per_task}: {method.name} compares the rollouts of a task "
            f"with each other: set it to {method.least_samples_per_task} or more, or leave it out, which is "
            f"{method.samples_per_task}"
        )
    if choices.objective.kind != method.objective:
        raise ValueError(
            f"objective.kind: {choices.objective.kind!r}: {method.name} is taught with {method.objective}; "
            "leave it out"
        )


def doubts(choices: Choices) -> Iterator[str]:
    """What a recipe may do, and better knows of: a line each."""
    method = choices.method
    if reason := method.doubtful_filters.get(choices.filter):
        yield f"data.filter = {choices.filter}: {reason}"
    objective = choices.objective
    if objective.estimate == "sampled" and not objective.ratio and choices.dataset == "aggregate":
        yield (
            f"data.dataset = aggregate: {method.name} with objective.estimate = sampled then learns from tokens that "
            "students of earlier iterations sampled, as if today's had: data.dataset=fresh avoids it, and "
            "objective.ratio=true weighs them"
        )
