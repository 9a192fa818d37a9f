"""The plans of an iteration's rollouts: a recipe and an iteration in, the same plans out, whoever rolls them out."""

from __future__ import annotations

from turnmix.core.seed import derive_seed
from turnmix.environments.environment import TaskSource
from turnmix.gateway.scaffolds.settings import ExternalSettings
from turnmix.loop.task_order import sampled_tasks
from turnmix.recipe.recipe import Recipe
from turnmix.rollout.mixture import make_mixture
from turnmix.rollout.plan import RolloutPlan, make_plans
from turnmix.store.run_directory import RunDirectory


def rollout_plans(
    recipe: Recipe, source: TaskSource, iteration: int, *, cohort_size: int
) -> list[RolloutPlan]:
    """`iteration` is counted from 1; `cohort_size` trajectories generate together."""
    return make_plans(
        sampled_tasks(
            source.tasks("train"),
            iteration=iteration,
            number=recipe.rollouts.tasks_per_iteration,
            seed=derive_seed(recipe.seed, "tasks"),
        ),
        iteration=iteration,
        seed=derive_seed(recipe.seed, "rollouts"),
        cohort_size=cohort_size,
        beta=make_mixture(recipe.mixture).beta(iteration),
        samples_per_task=recipe.rollouts.samples_per_task,
    )


def is_rolled_out_elsewhere(recipe: Recipe) -> bool:
    """Do scaffolds that start themselves roll out, which `turnmix gateway` serves?"""
    chosen = recipe.rollouts.scaffold
    has_no_other = chosen is None and not recipe.tasks.has_world and recipe.data.messages is None
    return has_no_other or isinstance(chosen, ExternalSettings)


def num_missing(recipe: Recipe, source: TaskSource, iteration: int, *, run: RunDirectory) -> int:
    """How many trajectories of an iteration the run lacks."""
    if run.stage_metrics("rollout", iteration) is not None:
        return 0
    plans = rollout_plans(recipe, source, iteration, cohort_size=recipe.student.cohort_size)
    return sum(plan.trajectory_id not in run.trajectories for plan in plans)
