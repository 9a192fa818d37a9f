"""Who is evaluated, by which recipe, and where the evaluation goes.

In: what the user named, a run, a checkpoint, a model, an endpoint or `teacher`, and a recipe. Out: a `Subject`; nothing
is loaded or asked yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from turnmix.assembly.machine import check_machine, prepare_tensor_code
from turnmix.assembly.source import make_source
from turnmix.assembly.student import acting_student, student_location
from turnmix.assembly.teacher import make_teacher
from turnmix.cluster.acting import WorkersPolicy, acts_on_workers
from turnmix.core.errors import UserError
from turnmix.core.trajectory import Actor
from turnmix.environments.environment import expert_of
from turnmix.policies.local.model_digest import model_digest
from turnmix.policies.policy import Policy
from turnmix.recipe.recipe import Recipe, recipe_yaml, stored_recipe
from turnmix.recipe.recipe_file import is_recipe
from turnmix.running.evaluation_target import FOLDER, TEACHER, acting_teacher, located
from turnmix.running.given_recipe import GivenRecipe
from turnmix.running.preflight import check_teacher
from turnmix.running.reporter import Reporter
from turnmix.store.subject_directory import Evaluated

UNUSED = ("teacher", "trackers", "tasks.dataset")
"""Settings that an evaluation of a student makes no use of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who is evaluated, by which recipe, and where."""

    path: Path
    evaluated: Evaluated
    recipe: Recipe
    policy: Callable[[datetime], Policy]
    """Opens who acts, at the moment that templates show as now."""
    model: str
    """Its name in predictions."""
    actor: Actor = "student"
    begun: datetime | None = None
    run: Path | None = None
    """The one that `path` lies in, if any."""


def subject_of(
    target: str,
    *,
    given: GivenRecipe | None,
    overrides: Sequence[str],
    output: str | None,
    reporter: Reporter,
) -> Subject:
    """`given`: a recipe; None: that of the run. `output`: the evaluation's directory; None: in the run, or below
    `evaluations`. Raises UserError: it cannot be evaluated."""
    if (override := acting_teacher(target)) is not None:
        overrides = [override, *overrides] if override else overrides
        return _teacher_subject(given, overrides, output, reporter)
    return _student_subject(target, given, overrides, output)


def _student_subject(
    target: str, given: GivenRecipe | None, overrides: Sequence[str], output: str | None
) -> Subject:
    found = located(target)
    named = given or (None if found.recipe is None else GivenRecipe.of_run(found.recipe))
    if named is None and is_recipe(target):
        raise UserError(
            f"{target!r} is a recipe: name a run or a model before it: turnmix evaluate RUN_OR_MODEL {target}"
        )
    if named is None:
        raise UserError(
            f"{target!r} is no run: name a recipe too, whose tasks it is evaluated on, such as "
            "recipes/minirepo_dagger.yaml"
        )
    recipe = named.load(overrides, unused=UNUSED)
    model = found.model
    if model is None and given is not None:
        model = stored_recipe(Path(str(found.recipe))).student.model
    settings = recipe.student.model_copy(update={} if model is None else {"model": model})
    recipe = recipe.model_copy(update={"student": settings})
    location = student_location(settings)
    evaluated = Evaluated(
        student=location,
        weights=model_digest(location),
        recipe=named.name,
        recipe_yaml=recipe_yaml(recipe),
    )

    def policy(moment: datetime) -> Policy:
        check_machine(recipe)
        if acts_on_workers(recipe):
            return WorkersPolicy.of_model(location)
        return acting_student(recipe, location=location, moment=moment)

    return Subject(
        path=found.directory(None if given is None else given.stem) if output is None else Path(output),
        evaluated=evaluated,
        recipe=recipe,
        begun=found.begun,
        policy=policy,
        model=target,
        run=found.run if output is None else None,
    )


def _teacher_subject(
    given: GivenRecipe | None, overrides: Sequence[str], output: str | None, reporter: Reporter
) -> Subject:
    """As above, with the recipe's teacher on every turn, sampled as the recipe says."""
    if given is None:
        raise UserError(
            "name a recipe too, whose tasks and whose teacher are meant, such as: turnmix evaluate teacher "
            "minirepo_dagger"
        )
    is_url = any(override.startswith("teacher.endpoint=") for override in overrides)
    recipe = given.load([*(["teacher.kind=endpoint"] if is_url else []), *overrides])
    name = recipe.teacher.shown_name

    def policy(moment: datetime) -> Policy:
        check_machine(recipe)
        teacher = make_teacher(
            recipe, expert=partial(expert_of, make_source(recipe)), acts=True, moment=moment
        )
        for note in check_teacher(teacher):
            reporter.note(note)
        if recipe.teacher.model_here is not None:
            prepare_tensor_code(recipe)
        teacher.load()
        return teacher.policy()

    return Subject(
        path=Path(output) if output is not None else _teacher_directory(given.stem, name),
        evaluated=Evaluated(student=name, weights=None, recipe=given.name, recipe_yaml=recipe_yaml(recipe)),
        recipe=recipe,
        policy=policy,
        model=name,
        actor="teacher",
    )


def _teacher_directory(recipe_stem: str, name: str) -> Path:
    stem = f"{TEACHER}-{name.partition(' at ')[0]}-{recipe_stem}"
    return Path(FOLDER) / re.sub(r"[^\w.-]+", "-", stem)
