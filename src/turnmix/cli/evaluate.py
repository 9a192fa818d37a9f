"""`turnmix evaluate`: a run, a checkpoint or a model in; resolved k of n with its interval out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from turnmix.cli.console import make_console, make_progress
from turnmix.cli.words import names_and_overrides
from turnmix.config import Recipe, load_recipe
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.trajectory import Trajectory
from turnmix.environments.swe.predictions import write_predictions
from turnmix.environments.swe.source import TaskFileSettings
from turnmix.evaluation.evaluator import Evaluation, evaluate, evaluation_plans
from turnmix.report import evaluation_text
from turnmix.rollout.plan import derive_seed
from turnmix.store.run_directory import RECIPE, RunDirectory

PREDICTIONS = "predictions.jsonl"
"""In the run's directory, or here: the patches, in SWE-bench's format."""


def evaluate_target(target: str, *, words: Sequence[str]) -> None:
    """Evaluate and print. Raises UserError for what cannot be evaluated."""
    names, overrides = names_and_overrides(words, at_most=1)
    location, recipe_name = _located(target)
    if names:
        recipe_name = names[0]
    if recipe_name is None:
        raise UserError(
            f"{target!r} is no run: name a recipe too, whose tasks it is evaluated on, such as "
            "recipes/minirepo_dagger.yaml"
        )
    recipe = load_recipe(recipe_name, overrides)
    from turnmix.assembly import check_machine, student_location

    check_machine(recipe)
    settings = recipe.student.model_copy(update={} if location is None else {"model": location})
    recipe = recipe.model_copy(update={"student": settings})
    location = student_location(settings)
    console = make_console()
    console.print(f"student: {location}", markup=False, soft_wrap=True)
    figures, trajectories = _evaluate(recipe, location)
    if not figures.n:
        raise InfrastructureError(f"all {figures.infra_errors} trajectories failed around the agent")
    turns = "" if figures.mean_turns is None else f"{figures.mean_turns:.1f} turns on average; "
    reasons = ", ".join(f"{reason} {number}" for reason, number in figures.stop_reasons.items())
    errors = f"; {figures.infra_errors} infra errors left out" if figures.infra_errors else ""
    console.print(f"resolved: {evaluation_text(figures.to_json())} (95 % interval)", markup=False)
    console.print(f"{turns}stopped by: {reasons}{errors}", markup=False)
    _write_predictions(console, recipe, trajectories, target=target)


def _write_predictions(
    console: Console, recipe: Recipe, trajectories: Sequence[Trajectory], *, target: str
) -> None:
    """The patches, beside the run or here, where the tasks are such that their patches can be graded again."""
    if not isinstance(recipe.tasks, TaskFileSettings):
        return
    directory = Path(target) if (Path(target) / RECIPE).is_file() else Path()
    path = directory / PREDICTIONS
    written = write_predictions(path, trajectories, model=target)
    console.print(f"{written} patches in {path}: turnmix grade {path} RECIPE", markup=False, soft_wrap=True)


def _located(target: str) -> tuple[str | None, str | None]:
    """Where the student lies (None: the recipe's own, untrained) and the recipe that it was trained by."""
    path = Path(target)
    if (path / RECIPE).is_file():
        run = RunDirectory.read(path)
        iteration = run.last_checkpoint()
        return str(run.checkpoint(iteration)) if iteration else None, str(run.recipe_path)
    above = path.resolve().parent.parent / RECIPE
    return target, str(above) if path.is_dir() and above.is_file() else None


def _evaluate(recipe: Recipe, location: str) -> tuple[Evaluation, list[Trajectory]]:
    from turnmix.assembly import acting_student, make_source

    student = acting_student(recipe, location=location)
    source = make_source(recipe)
    plans = evaluation_plans(
        source.tasks("holdout")[: recipe.evaluation.tasks],
        iteration=0,
        seed=derive_seed(recipe.seed, "evaluation"),
        cohort_size=recipe.student.cohort_size,
    )
    done = resolved = 0
    trajectories: list[Trajectory] = []
    with make_progress(make_console(), seconds=lambda stage: None) as progress:
        progress.begin("evaluate", 0, total=len(plans), done=0)

        def count(trajectory: Trajectory) -> None:
            nonlocal done, resolved
            done += 1
            resolved += bool(trajectory.verdict and trajectory.verdict.resolved)
            trajectories.append(trajectory)
            progress.advance(done, f"{resolved} resolved")

        async def evaluating() -> Evaluation:
            try:
                return await evaluate(
                    plans,
                    source=source,
                    student=student,
                    concurrency=recipe.rollouts.concurrency,
                    attempts=recipe.rollouts.attempts,
                    on_trajectory=count,
                )
            finally:
                await student.close()

        return asyncio.run(evaluating()), trajectories
