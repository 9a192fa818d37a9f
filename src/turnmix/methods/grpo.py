"""Group-relative policy optimisation: several rollouts of each task, the student's tokens weighted by how much
better than its group a rollout ended (paper Eq. 19, 20). How well one ended its world's reward says, else whether it
is resolved."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import Transition
from turnmix.methods.method import Method, Taught
from turnmix.methods.targets import rejected_turns, sampled_turns
from turnmix.methods.teaching import as_sampled
from turnmix.rollout.mixture import StudentMixtureSettings
from turnmix.training.objective_settings import ClippedRatioSettings, ObjectiveSettings

ROUNDING = 1e-12
"""Rewards that differ by no more than this share of the largest are equal: sums of the same parts in another order."""


def group_advantages(rewards: Sequence[float], *, divide_by_std: bool) -> list[float] | None:
    """Each reward less the group's mean, and divided by the group's standard deviation if asked, that of the
    population: over n, not n − 1. None: all rewards are equal, so there is nothing to tell apart.

    One of four resolved: mean 0.25, deviation √(0.25 · 0.75) = 0.433.

    >>> group_advantages([1, 0, 0, 0], divide_by_std=False)
    [0.75, -0.25, -0.25, -0.25]
    >>> [round(advantage, 3) for advantage in group_advantages([1, 0, 0, 0], divide_by_std=True)]
    [1.732, -0.577, -0.577, -0.577]
    """
    largest = max(map(abs, rewards), default=0.0)
    if not rewards or max(rewards) - min(rewards) <= ROUNDING * largest:
        return None
    # In units of the largest, no sum overflows.
    units = [reward / largest for reward in rewards]
    mean = statistics.fmean(units)
    scale = statistics.pstdev(units) if divide_by_std else 1 / largest
    return [(unit - mean) / scale for unit in units]


def reward_of(trajectory: Trajectory) -> float:
    """What its world gave for it; else 1 where it is resolved and 0 where it is not."""
    verdict = trajectory.verdict
    if verdict is None or verdict.reward is None:
        return float(verdict is not None and verdict.resolved)
    return verdict.reward


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    groups: dict[tuple[int, str], list[Trajectory]] = {}
    for trajectory in trajectories:
        groups.setdefault((trajectory.iteration, trajectory.task_id), []).append(trajectory)
    transitions: list[Transition] = []
    without_spread = 0
    for group in groups.values():
        advantages = group_advantages(
            [reward_of(member) for member in group],
            divide_by_std=not isinstance(objective, ClippedRatioSettings) or objective.divide_by_std,
        )
        if advantages is None:
            without_spread += 1
            continue
        transitions += [
            as_sampled(replace(each, weight=advantage), objective)
            for member, advantage in zip(group, advantages, strict=True)
            for each in sampled_turns(member)
        ]
    figures = {"groups": len(groups), "groups_without_spread": without_spread}
    return Taught(transitions=transitions, figures=figures | rejected_turns(trajectories))


GRPO = Method(
    name="grpo",
    title="GRPO",
    mixture=StudentMixtureSettings(),
    filter="all",
    refused_filters={
        "resolved": "grpo compares rollouts that ended well with others, and resolved keeps no other"
    },
    doubtful_filters={
        "submitted": "grpo then compares the rollouts of a task that ended with a patch alone: not to end with one "
        "costs nothing; data.filter=all keeps them",
        "finished": "grpo then compares the rollouts of a task that called finish alone: not to call it costs nothing; "
        "data.filter=all keeps them",
    },
    label=False,
    objective=ClippedRatioSettings(),
    samples_per_task=8,
    least_samples_per_task=2,
    transitions=_transitions,
    acts="the student on every turn, 8 rollouts a task; all trajectories are kept",
    taught="the executed action",
    weight="group advantage × clipped ratio",
)
