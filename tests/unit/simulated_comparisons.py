"""Worlds in which the truth is known: two arms, seed by task, many comparisons at once.

A task is hard for both arms (`task`), or for one (`interaction`); a training has luck of its own (`seed`). All are
standard deviations beside one of 1 for the rest: .1 of the seed moves a share of .3 by 2 points, .5 by 9 points.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from turnmix.analysis.statistics.difference import judge_difference
from turnmix.analysis.statistics.mcnemar import mid_p_values, tango

CHUNK = 500


@dataclass(frozen=True)
class World:
    num_seeds: int
    num_tasks: int
    seed: float = 0.0
    task: float = 1.5
    interaction: float = 0.7


@dataclass(frozen=True)
class Found:
    alarms: float
    """Share of the comparisons whose p-value is below .05."""
    coverage: float
    """Share of the intervals that hold the true difference."""


def _luck(world, generator):
    """[comparisons, seeds, tasks] of one arm, without what both arms have in common."""
    sizes = (
        (world.interaction, (1, world.num_tasks)),
        (world.seed, (world.num_seeds, 1)),
        (1.0, (world.num_seeds, world.num_tasks)),
    )
    return sum(
        scale * generator.standard_normal((CHUNK, *shape), dtype=np.float32)
        for scale, shape in sizes
        if scale
    )


def resolved(world, shares, generator):
    """Arms whose tasks are resolved with probabilities that are `shares` over all tasks and trainings."""
    hardness = world.task * generator.standard_normal((CHUNK, 1, world.num_tasks), dtype=np.float32)
    spread = np.sqrt(1 + world.task**2 + world.interaction**2 + world.seed**2)
    arms = [(hardness + _luck(world, generator) < norm.ppf(share) * spread).astype(float) for share in shares]
    return [(arm, np.ones_like(arm)) for arm in arms], shares[0] - shares[1]


def label_nll(world, scales, generator):
    """Arms whose rollouts leave the teacher's path in a quarter of the cases: then twice as long, 30 times as bad."""
    hardness = world.task * generator.standard_normal((CHUNK, 1, world.num_tasks), dtype=np.float32)
    spread = np.sqrt(1 + world.task**2 + world.interaction**2 + world.seed**2)
    arms = []
    for scale in scales:
        has_left = hardness + _luck(world, generator) < norm.ppf(0.25) * spread
        noise = generator.standard_normal((2, *has_left.shape), dtype=np.float32)
        tokens = np.where(has_left, 600.0, 300.0) * np.exp(0.3 * noise[0])
        arms.append((tokens * np.where(has_left, 1.4 * scale, 0.05) * np.exp(0.7 * noise[1] - 0.245), tokens))
    # Tokens per rollout: a quarter of 600, three quarters of 300.
    true = [(150 * 1.4 * scale + 225 * 0.05) / 375 for scale in scales]
    return arms, true[0] - true[1]


def judge_many(make, world, values, *, missing=0.0, comparisons=10_000):
    """How often a difference was found, and how often the interval held the true one."""
    generator = np.random.default_rng(0)
    alarms = covered = 0
    for _ in range(comparisons // CHUNK):
        arms, true = make(world, values, generator)
        low, high, p_values = _judged([part for arm in arms for part in arm], world, missing, generator)
        alarms += int((p_values < 0.05).sum())
        covered += int(((low <= true) & (true <= high)).sum())
    return Found(alarms=alarms / comparisons, coverage=covered / comparisons)


def _judged(parts, world, missing, generator):
    if missing:
        is_there = generator.random(parts[0].shape) >= missing
        parts = [np.where(is_there, part, np.nan) for part in parts]
    if world.num_seeds == 1 and (parts[1] == 1).all():
        only_a, only_b = (
            (one > other).sum(axis=(1, 2)) for one, other in ((parts[0], parts[2]), (parts[2], parts[0]))
        )
        return *tango(only_a, only_b, world.num_tasks), mid_p_values(only_a, only_b)
    judged = judge_difference(*parts)
    return judged.low, judged.high, judged.p_value
