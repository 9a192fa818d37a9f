"""Group-relative policy optimisation: several rollouts of each task, the student's tokens weighted by how much
better than its group a rollout ended (paper Eq. 19, 20)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import Transition, compared
from turnmix.methods.method import Method, Taught
from turnmix.methods.objective_settings import ObjectiveSettings
from turnmix.methods.targets import sampled_turns
from turnmix.rollout.mixture import MixtureSettings


def group_advantages(rewards: Sequence[float], *, divide_by_std: bool) -> list[float] | None:
    """Each reward less the group's mean, and divided by the group's standard deviation if asked, that of the
    population: over n, not n − 1. None: all rewards are equal, so there is nothing to tell apart.

    One of four resolved: mean 0.25, deviation √(0.25 · 0.75) = 0.433.

    >>> group_advantages([1, 0, 0, 0], divide_by_std=False)
    [0.75, -0.25, -0.25, -0.25]
    >>> [round(advantage, 3) for advantage in group_advantages([1, 0, 0, 0], divide_by_std=True)]
    [1.732, -0.577, -0.577, -0.577]
    """
    if len(set(rewards)) < 2:
        return None
    mean = statistics.fmean(rewards)
    scale = statistics.pstdev(rewards) if divide_by_std else 1.0
    return [(reward - mean) / scale for reward in rewards]


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    groups: dict[tuple[int, str], list[Trajectory]] = {}
    for trajectory in trajectories:
        groups.setdefault((trajectory.iteration, trajectory.task_id), []).append(trajectory)
    transitions: list[Transition] = []
    without_spread = 0
    for group in groups.values():
        rewards = [float(bool(member.verdict and member.verdict.resolved)) for member in group]
        advantages = group_advantages(rewards, divide_by_std=bool(objective.divide_by_std))
        if advantages is None:
            without_spread += 1
            continue
        transitions += [
            _weighed(each, advantage)
            for member, advantage in zip(group, advantages, strict=True)
            for each in sampled_turns(member)
        ]
    return Taught(
        transitions=transitions, figures={"groups": len(groups), "groups_without_spread": without_spread}
    )


def _weighed(transition: Transition, advantage: float) -> Transition:
    weighed = replace(transition, weight=advantage)
    logprobs = transition.target.logprobs
    return weighed if logprobs is None else compared(weighed, logprobs)


GRPO = Method(
    name="grpo",
    title="GRPO",
    mixture=lambda: MixtureSettings(kind="student"),
    mixtures=("student",),
    filter="all",
    refused_filters={
        "resolved": "grpo compares rollouts that ended well with others, and resolved keeps no other"
    },
    doubtful_filters={
        "submitted": "grpo then compares the rollouts of a task that ended with a patch alone: not to end with one "
        "costs nothing; data.filter=all keeps them"
    },
    label=False,
    objective="clipped_ratio",
    samples_per_task=8,
    least_samples_per_task=2,
    transitions=_transitions,
    acts="the student on every turn, 8 rollouts a task; all trajectories are kept",
    taught="the executed action",
    weight="group advantage × clipped ratio",
)
