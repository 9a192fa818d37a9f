"""`turnmix evaluate`: a run, a checkpoint, a model, an endpoint or a teacher in; resolved k of n, with interval, out.

Its trajectories lie in a directory of their own, with which the same command goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from turnmix.assembly.machine import check_machine
from turnmix.assembly.source import make_source
from turnmix.assembly.student import acting_student, student_location
from turnmix.assembly.teacher import make_teacher
from turnmix.cli.arguments import names_and_overrides
from turnmix.cli.console import make_console, make_progress, say, say_note
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Actor, Trajectory
from turnmix.environments.environment import TaskSource, expert_of
from turnmix.environments.minirepo.source import MinirepoSource
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.evaluation.evaluator import evaluate, evaluation_plans, summarise
from turnmix.loop.completion import Keep, complete
from turnmix.policies.local.model_digest import model_digest
from turnmix.policies.policy import Policy
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_yaml, stored_recipe
from turnmix.recipe.recipe_file import find_recipe, is_recipe
from turnmix.rollout.plan import RolloutPlan
from turnmix.running.continuation import told_how_to_go_on
from turnmix.running.evaluation_target import FOLDER, TEACHER, acting_teacher, located
from turnmix.running.preflight import check_teacher
from turnmix.store.evaluation_directory import PREDICTIONS, Evaluated, EvaluationDirectory, has_begun
from turnmix.store.place import RECIPE
from turnmix.store.versions import when_begun
from turnmix.viewing.report import evaluation_lines

UNUSED = ("teacher", "trackers", "tasks.dataset")
"""Settings that an evaluation of a student makes no use of."""


def evaluate_target(target: str, *, words: Sequence[str], output: str | None) -> None:
    """Evaluate, or go on with it, and print.

    Raises:
        UserError: it cannot be evaluated, or its directory holds something else.
        TurnMixError: it failed, or was stopped; the message says that the same command goes on.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if (override := acting_teacher(target)) is not None:
        _evaluate_teacher(names, [override, *overrides] if override else overrides, output)
        return
    found = located(target)
    recipe_name = names[0] if names else found.recipe
    if recipe_name is None and is_recipe(target):
        raise UserError(
            f"{target!r} is a recipe: name a run or a model before it: turnmix evaluate RUN_OR_MODEL {target}"
        )
    if recipe_name is None:
        raise UserError(
            f"{target!r} is no run: name a recipe too, whose tasks it is evaluated on, such as "
            "recipes/minirepo_dagger.yaml"
        )
    recipe = load_recipe(recipe_name, overrides, unused=UNUSED, is_of_run=not names)
    model = found.model
    if model is None and names:
        model = stored_recipe(Path(str(found.recipe))).student.model
    settings = recipe.student.model_copy(update={} if model is None else {"model": model})
    recipe = recipe.model_copy(update={"student": settings})
    location = student_location(settings)
    path = found.directory(names[0] if names else None) if output is None else Path(output)
    evaluated = Evaluated(
        student=location,
        weights=model_digest(location),
        recipe=recipe_name,
        recipe_yaml=recipe_yaml(recipe),
    )
    _evaluate(
        path,
        evaluated,
        recipe=recipe,
        begun=found.begun,
        policy=lambda begun: _student(recipe, location, begun),
        model=target,
        run=found.run if output is None else None,
    )


def _evaluate_teacher(names: Sequence[str], overrides: Sequence[str], output: str | None) -> None:
    """As above, with the recipe's teacher on every turn, sampled as the recipe says."""
    if not names:
        raise UserError(
            "name a recipe too, whose tasks and whose teacher are meant, such as: turnmix evaluate teacher "
            "minirepo_dagger"
        )
    is_url = any(override.startswith("teacher.endpoint=") for override in overrides)
    recipe = load_recipe(names[0], [*(["teacher.kind=endpoint"] if is_url else []), *overrides])
    name = recipe.teacher.shown_name
    path = Path(output) if output is not None else _teacher_directory(names[0], name)
    evaluated = Evaluated(student=name, weights=None, recipe=names[0], recipe_yaml=recipe_yaml(recipe))
    _evaluate(
        path,
        evaluated,
        recipe=recipe,
        begun=None,
        policy=lambda begun: _teacher(recipe, begun),
        model=name,
        actor="teacher",
    )


def _teacher_directory(recipe_name: str, name: str) -> Path:
    stem = f"{TEACHER}-{name.partition(' at ')[0]}-{find_recipe(recipe_name).stem}"
    return Path(FOLDER) / re.sub(r"[^\w.-]+", "-", stem)


def _evaluate(
    path: Path,
    evaluated: Evaluated,
    *,
    recipe: Recipe,
    begun: datetime | None,
    policy: Callable[[datetime], Policy],
    model: str,
    actor: Actor = "student",
    run: Path | None = None,
) -> None:
    """`policy` opens who acts, at the moment that templates show as now; `model` is its name in predictions; `run`: the
    one that `path` lies in, if any."""
    is_begun = has_begun(path, evaluated)
    console = make_console()
    say(console, printable_line(f"{actor}: {evaluated.student}"))
    with told_how_to_go_on("the same command goes on where this one stopped"):
        source, plans = _planned(recipe)
        moment = (when_begun(path) if is_begun else begun) or datetime.now()
        # Who cannot do what the recipe asks leaves no directory behind.
        opened = None if is_begun else policy(moment)
        with closing(EvaluationDirectory.open(path, evaluated, begun=moment, run=run)) as directory:
            directory.check_tasks(plans)
            found = sum(plan.trajectory_id in directory.trajectories for plan in plans)
            _complete(
                plans,
                recipe=recipe,
                source=source,
                acting=lambda: policy(moment) if opened is None else opened,
                actor=actor,
                directory=directory,
                console=console,
            )
            _conclude(
                directory,
                plans,
                found=found,
                evaluated=evaluated,
                recipe=recipe,
                model=model,
                console=console,
            )


def _teacher(recipe: Recipe, begun: datetime) -> Policy:
    check_machine(recipe)
    teacher = make_teacher(recipe, expert=partial(expert_of, make_source(recipe)), acts=True, moment=begun)
    for note in check_teacher(teacher):
        say_note(note)
    teacher.load()
    return teacher.policy()


def _planned(recipe: Recipe) -> tuple[MinirepoSource | TaskFileSource, list[RolloutPlan]]:
    source = make_source(recipe)
    plans = evaluation_plans(
        source.tasks("holdout")[: recipe.evaluation.tasks],
        iteration=0,
        seed=derive_seed(recipe.seed, "evaluation"),
        cohort_size=recipe.student.cohort_size,
    )
    return source, plans


def _student(recipe: Recipe, location: str, begun: datetime) -> Policy:
    check_machine(recipe)
    return acting_student(recipe, location=location, moment=begun)


def _complete(
    plans: Sequence[RolloutPlan],
    *,
    recipe: Recipe,
    source: TaskSource,
    acting: Callable[[], Policy],
    actor: Actor,
    directory: EvaluationDirectory,
    console: Console,
) -> None:
    """Roll out what is not in the directory yet; `acting` is called if there is any."""

    def collecting(missing: list[RolloutPlan], keep: Keep) -> Coroutine[Any, Any, None]:
        for change in directory.changed_versions():
            note = f"note: {change}: results may differ from an uninterrupted evaluation"
            console.print(printable_line(note))
        return evaluating(missing, keep, acting())

    async def evaluating(missing: list[RolloutPlan], keep: Keep, opened: Policy) -> None:
        try:
            await evaluate(
                missing,
                source=source,
                policy=opened,
                actor=actor,
                concurrency=recipe.rollouts.concurrency,
                attempts=recipe.rollouts.attempts,
                on_trajectory=keep,
                unfinished=recipe.evaluation.unfinished,
            )
        finally:
            await opened.close()

    with make_progress(console, seconds=lambda stage: None) as progress:
        complete(
            "evaluate",
            plans,
            log=directory.trajectories,
            collecting=collecting,
            progress=progress,
            tick=lambda: None,
        )


def _conclude(
    directory: EvaluationDirectory,
    plans: Sequence[RolloutPlan],
    *,
    found: int,
    evaluated: Evaluated,
    recipe: Recipe,
    model: str,
    console: Console,
) -> None:
    """Write and print the figures, and write the patches where they can be graded again. `found`: so many
    trajectories lay there before."""
    judged: list[Trajectory] = []

    def read() -> Iterator[Trajectory]:
        for trajectory in directory.trajectories.read(plan.trajectory_id for plan in plans):
            # What a prediction is made of: turns take far more memory.
            judged.append(replace(trajectory, tools=(), prompt=(), turns=()))
            yield trajectory

    figures = summarise(read(), unfinished=recipe.evaluation.unfinished).to_json()
    for line in evaluation_lines(figures):
        console.print(printable_line(line))
    is_made_here = directory.is_made_here()
    if found:
        made = "and not made now" if is_made_here else "which was not made by you on this machine"
        told = (
            f"{found} of {len(plans)} trajectories and their verdicts were found in {directory.path}, {made}"
        )
        say(console, printable_line(f"{told}: --output makes all anew in another directory"))
    if isinstance(recipe.tasks, TaskFileSettings):
        path = directory.path / PREDICTIONS
        written = directory.write_predictions(judged, model=model)
        grading = f"turnmix grade {path} {directory.path / RECIPE}"
        say(console, printable_line(f"{written} patches in {path}: {grading}"))
    elsewhere = {} if is_made_here or not found else {"made_elsewhere": found}
    directory.write_results(
        {"student": evaluated.student, "recipe": evaluated.recipe, **elsewhere, **figures}
    )
    say(console, printable_line(f"Look at trajectories: turnmix show {directory.path}"))
