"""Does a recipe do what its method's name says?

In: a method, and what a recipe says of who acts, what is kept, how often a task is rolled out, and the objective.
Out: nothing, one sentence that refuses it, or sentences about what it may do with care.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from turnmix.methods.method import Method
from turnmix.methods.registry import METHODS
from turnmix.rollout.mixture import MIXTURES, MixtureSettings
from turnmix.training.objective_settings import OBJECTIVES, ObjectiveSettings, ReverseKlSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a recipe says that a method brings."""

    method: Method
    mixture: MixtureSettings
    filter: str
    samples_per_task: int
    objective: ObjectiveSettings
    dataset: Literal["fresh", "aggregate"]


def check_agreement(choices: Choices) -> None:
    """
    Raises:
        ValueError: the recipe contradicts its method; names the field, its value and the fix.
    """
    _check_mixture(choices.method, choices.mixture)
    method = choices.method
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
    _check_objective(method, choices.objective)


def _check_mixture(method: Method, mixture: MixtureSettings) -> None:
    """A mixture of the user's own may act for any method."""
    allowed = (method.mixture.kind, *method.other_mixtures)
    if mixture.kind in allowed or mixture.kind not in MIXTURES:
        return
    others = [other.name for other in METHODS.values() if other.mixture.kind == mixture.kind]
    always = ", or for the teacher on every turn set mixture.decay to 0" if mixture.kind == "teacher" else ""
    raise ValueError(
        f"mixture.kind: {mixture.kind!r}: {method.name} learns from rollouts of the mixture "
        f"{' or '.join(map(repr, allowed))}: leave mixture out"
        f"{always if 'dagger' in allowed else ''}, or set method to {' or '.join(others)}"
    )


def _check_objective(method: Method, objective: ObjectiveSettings) -> None:
    """An objective of the user's own may teach any method that gives what it needs."""
    if objective.kind in OBJECTIVES and objective.kind != method.objective.kind:
        raise ValueError(
            f"objective.kind: {objective.kind!r}: {method.name} is taught with {method.objective.kind}; leave it out"
        )
    estimate = getattr(objective, "estimate", None)
    if reason := method.refused_estimates.get(str(estimate)):
        usual = getattr(method.objective, "estimate", None)
        raise ValueError(
            f"objective.estimate: {estimate!r}: {reason}: leave it out, which is {usual}, or set it to top_k"
        )
    if objective.has_ratio and not method.objective.learns_from_samples:
        raise ValueError(
            f"objective.kind: {objective.kind!r}: it weighs tokens by how likely they were when the student sampled "
            f"them, and {method.name} teaches others: choose a method that teaches what it sampled, such as grpo"
        )


def doubts(choices: Choices) -> Iterator[str]:
    """What a recipe may do, and better knows of: a line each."""
    method = choices.method
    if reason := method.doubtful_filters.get(choices.filter):
        yield f"data.filter = {choices.filter}: {reason}"
    objective = choices.objective
    is_sampled = isinstance(objective, ReverseKlSettings) and objective.estimate == "sampled"
    if is_sampled and not objective.has_ratio and choices.dataset == "aggregate":
        yield (
            f"data.dataset = aggregate: {method.name} with objective.estimate = sampled then learns from tokens that "
            "students of earlier iterations sampled, as if today's had: data.dataset=fresh avoids it, and "
            "objective.ratio=true weighs them"
        )
