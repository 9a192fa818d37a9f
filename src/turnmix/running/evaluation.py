"""An evaluation, from what is named to its figures: a run, a checkpoint, a model, an endpoint or the recipe's teacher.

Its trajectories lie in a directory of their own, with which the same call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from turnmix.assembly.source import check_split, make_source
from turnmix.cluster.acting import is_served_here
from turnmix.cluster.connection import connected
from turnmix.cluster.rollouts import cluster_rollouts
from turnmix.core.errors import UserError
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Actor, Trajectory
from turnmix.environments.environment import TaskSource
from turnmix.environments.repositories.predictions import PREDICTIONS, predictions_text
from turnmix.environments.repositories.source import GradesPatches
from turnmix.evaluation.evaluator import evaluation_plans, evaluation_request, summarise
from turnmix.gateway.session.tokens import RoughTokenCounter
from turnmix.loop.collector_choice import collector_of
from turnmix.loop.missing_rollouts import Keep, roll_out_missing
from turnmix.policies.policy import Policy
from turnmix.recipe.recipe import Recipe
from turnmix.rollout.plan import RolloutPlan
from turnmix.running.continuation import told_how_to_go_on
from turnmix.running.evaluation_subject import Subject, subject_of
from turnmix.running.given_recipe import GivenRecipe
from turnmix.running.reporter import Reporter
from turnmix.store.evaluation_directory import OF_EVALUATION, EvaluationDirectory
from turnmix.store.subject_directory import has_begun
from turnmix.store.versions import when_begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One that has ended."""

    path: Path
    figures: dict[str, Any]
    num_tasks: int
    num_found: int
    """Of its trajectories, those that lay there before."""
    is_made_here: bool
    """This user began it on this machine."""
    num_patches: int | None
    """Written where they can be graded again; None: its tasks have none."""


def evaluate_target(
    target: str,
    *,
    given: GivenRecipe | None,
    overrides: Sequence[str] = (),
    output: str | None = None,
    reporter: Reporter,
) -> Evaluation:
    """Evaluate, or go on with it. `given`: a recipe; None: that of the run. `output`: its directory; None: in the
    run, or below `evaluations`.

    Raises:
        UserError: it cannot be evaluated, or its directory holds something else.
        TurnMixError: it failed; the message says that the same call goes on.
    """
    subject = subject_of(target, given=given, overrides=overrides, output=output, reporter=reporter)
    return _evaluate(subject, reporter)


def _evaluate(subject: Subject, reporter: Reporter) -> Evaluation:
    path, evaluated, recipe = subject.path, subject.evaluated, subject.recipe
    is_begun = has_begun(path, evaluated, OF_EVALUATION)
    reporter.say(f"{subject.actor}: {evaluated.student}")
    with told_how_to_go_on("the same command goes on where this one stopped"):
        source, plans = _planned(recipe)
        moment = (when_begun(path) if is_begun else subject.begun) or datetime.now()
        # Who cannot do what the recipe asks leaves no directory behind.
        opened = None if is_begun else subject.policy(moment)
        with closing(EvaluationDirectory.open(path, evaluated, begun=moment, run=subject.run)) as directory:
            directory.check_tasks(plans)
            num_found = sum(plan.trajectory_id in directory.trajectories for plan in plans)
            _complete(
                plans,
                recipe=recipe,
                source=source,
                acting=lambda: subject.policy(moment) if opened is None else opened,
                moment=moment,
                actor=subject.actor,
                directory=directory,
                reporter=reporter,
            )
            return _concluded(subject, directory, plans, source=source, num_found=num_found)


def _planned(recipe: Recipe) -> tuple[TaskSource, list[RolloutPlan]]:
    if not recipe.evaluation.tasks:
        raise UserError(
            "evaluation.tasks: 0: nothing is evaluated: name a recipe with tasks, such as minirepo_dagger, or set "
            "evaluation.tasks and tasks"
        )
    source = make_source(recipe)
    check_split(recipe, source, "holdout")
    plans = evaluation_plans(
        source.tasks("holdout")[: recipe.evaluation.tasks],
        iteration=0,
        seed=derive_seed(recipe.seed, "evaluation"),
        cohort_size=recipe.student.cohort_size,
    )
    return source, plans


def _complete(
    plans: Sequence[RolloutPlan],
    *,
    recipe: Recipe,
    source: TaskSource,
    acting: Callable[[], Policy],
    moment: datetime,
    actor: Actor,
    directory: EvaluationDirectory,
    reporter: Reporter,
) -> None:
    """Roll out what is not in the directory yet; `acting` is called if there is any."""

    def collecting(missing: list[RolloutPlan], keep: Keep) -> Coroutine[Any, Any, None]:
        for change in directory.changed_versions():
            reporter.say(f"note: {change}: results may differ from an uninterrupted evaluation")
        return evaluating(missing, keep, acting())

    async def evaluating(missing: list[RolloutPlan], keep: Keep, opened: Policy) -> None:
        try:
            collect = (
                collector_of(recipe, count=RoughTokenCounter, logs=directory.path, is_taught=False)
                if workers is None
                else workers.collector(is_taught=False)
            )
            await collect(
                evaluation_request(
                    opened,
                    plans=missing,
                    source=source,
                    actor=actor,
                    concurrency=recipe.rollouts.concurrency,
                    attempts=recipe.rollouts.attempts,
                    on_trajectory=keep,
                    unfinished=recipe.evaluation.unfinished,
                )
            )
        finally:
            await opened.close()

    is_here = actor == "student" and is_served_here(recipe)
    placed = recipe.model_copy(update={"cluster": None}) if is_here else recipe
    with (
        connected(placed.cluster, run=directory.path.name),
        cluster_rollouts(placed, directory=directory.path, moment=moment, say=reporter.say) as workers,
        reporter.progress(seconds=lambda stage: None) as progress,
    ):
        roll_out_missing(
            "evaluate",
            plans,
            log=directory.trajectories,
            collecting=collecting,
            progress=progress,
            tick=lambda: None,
        )


def _concluded(
    subject: Subject,
    directory: EvaluationDirectory,
    plans: Sequence[RolloutPlan],
    *,
    source: TaskSource,
    num_found: int,
) -> Evaluation:
    """Write the figures, and the patches where they can be graded again."""
    judged: list[Trajectory] = []

    def read() -> Iterator[Trajectory]:
        for trajectory in directory.trajectories.read(plan.trajectory_id for plan in plans):
            # What a prediction is made of: turns take far more memory.
            judged.append(replace(trajectory, tools=(), prompt=(), turns=()))
            yield trajectory

    figures = summarise(read(), unfinished=subject.recipe.evaluation.unfinished).to_json()
    is_made_here = directory.is_made_here()
    num_patches = None
    if isinstance(source, GradesPatches):
        predictions = predictions_text(judged, model=subject.model)
        directory.add_file(PREDICTIONS, predictions)
        num_patches = predictions.count("\n")
    elsewhere = {} if is_made_here or not num_found else {"made_elsewhere": num_found}
    directory.write_results(
        {
            "student": subject.evaluated.student,
            "recipe": subject.evaluated.recipe,
            **elsewhere,
            **figures,
        }
    )
    return Evaluation(
        path=directory.path,
        figures=figures,
        num_tasks=len(plans),
        num_found=num_found,
        is_made_here=is_made_here,
        num_patches=num_patches,
    )
