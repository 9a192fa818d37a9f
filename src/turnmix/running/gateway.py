"""`turnmix gateway`: the rollouts of a run's next iteration, driven by scaffolds that start themselves.

In: a recipe, and where its run goes or lies. Out: the iteration's trajectories in the run, from which `turnmix train`
goes on. Stopped at any moment, it goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from turnmix.assembly.gateway import external_parts
from turnmix.assembly.machine import check_machine, check_models, is_follower
from turnmix.assembly.source import check_split, make_source
from turnmix.assembly.student import sampling_student, student_location
from turnmix.assembly.teacher import make_teacher
from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import TaskSource, expert_of
from turnmix.gateway.scaffolds.settings import ExternalSettings
from turnmix.gateway.serving.installed import check_gateway_installed
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.loop.missing_rollouts import roll_out_missing
from turnmix.loop.plans import rollout_plans
from turnmix.policies.policy import Policy
from turnmix.policies.teacher import Teacher
from turnmix.recipe.recipe import Recipe, recipe_yaml
from turnmix.rollout.plan import RolloutPlan
from turnmix.running.continuation import told_how_to_go_on
from turnmix.running.preflight import check_training
from turnmix.running.reporter import Reporter
from turnmix.running.run_choice import RunChoice, chosen_run
from turnmix.running.training import check_is_for_training
from turnmix.store.place import gateway_command
from turnmix.store.run_directory import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a gateway's end leaves."""

    path: Path
    iteration: int
    num_trajectories: int
    was_complete: bool
    """There was nothing left to roll out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the gateway listens; None: as the recipe says."""

    host: str | None = None
    port: int | None = None


def serve_run(
    recipe: Recipe,
    *,
    name: str,
    run: str | None,
    overrides: Sequence[str] = (),
    place: Place,
    reporter: Reporter,
) -> Served:
    """Serve until the next iteration of a run of `recipe` has all of its trajectories: a new run, or one that is there.

    Raises:
        UserError: the recipe cannot be served, or the directory holds something else.
        TurnMixError: it failed, or was stopped; the message says how to go on.
    """
    check_gateway_installed()
    check_is_served(recipe)
    check_machine(recipe)
    check_models(recipe)
    choice = chosen_run(recipe, name=name, run=run, overrides=overrides)
    if choice.note is not None:
        reporter.note(choice.note)
    return _serve(recipe, choice, place, reporter)


def serve_found_run(recipe: Recipe, run: Path, *, place: Place, reporter: Reporter) -> Served:
    """Go on with a run, whose recipe it is. Raises as above."""
    check_gateway_installed()
    check_is_served(recipe)
    check_machine(recipe)
    check_models(recipe)
    return _serve(recipe, RunChoice(path=run, is_begun=True), place, reporter)


def check_is_served(recipe: Recipe) -> None:
    """Raises UserError: no scaffold can drive rollouts of this recipe."""
    check_is_for_training(recipe)
    if is_follower():
        raise UserError("turnmix gateway runs in one process: start it without a launcher")
    if recipe.data.messages is not None:
        raise UserError(
            "data.messages: these trajectories come from files, and nothing is rolled out: leave it out"
        )
    if recipe.evaluation.tasks and not recipe.tasks.has_world and recipe.rollouts.scaffold is None:
        raise UserError(
            f"evaluation.tasks: {recipe.evaluation.tasks}: TurnMix has no world for these tasks, in which the student "
            "could be evaluated: set it to 0, or name your scaffold in rollouts.scaffold"
        )
    if recipe.iterations > 1 and recipe.tasks.has_world and recipe.rollouts.scaffold is None:
        raise UserError(
            f"iterations: {recipe.iterations}: train would roll out the further ones by TurnMix's own scaffold, not by "
            "yours: set rollouts.scaffold.kind=external evaluation.tasks=0, or iterations=1"
        )
    if recipe.rollouts.accidents.are_on:
        raise UserError(
            f"rollouts.accidents.kind: {recipe.rollouts.accidents.kind!r}: no accident happens to a scaffold of your "
            "own: set it to none"
        )
    if recipe.scaffold.tool_calls == "text":
        raise UserError(
            "scaffold.tool_calls: 'text': a scaffold of your own offers its tools in its requests: set it to native"
        )


def _serve(recipe: Recipe, choice: RunChoice, place: Place, reporter: Reporter) -> Served:
    source = make_source(recipe)
    check_split(recipe, source, "train")
    if recipe.evaluation.tasks:
        check_split(recipe, source, "holdout")
    serve = _go_on if choice.is_begun else _begin
    return serve(recipe, choice.path, source, place, reporter)


def _begin(recipe: Recipe, path: Path, source: TaskSource, place: Place, reporter: Reporter) -> Served:
    begun = datetime.now()
    teacher = _teacher(recipe, path, source, begun, reporter, num_written=0)
    student = partial(sampling_student, recipe, location=student_location(recipe.student), moment=begun)
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe), begun=begun)) as directory:
        try:
            return _rolled_out(recipe, directory, 1, source, teacher, student, place, reporter)
        except UserError:
            directory.discard()
            raise


def _go_on(recipe: Recipe, path: Path, source: TaskSource, place: Place, reporter: Reporter) -> Served:
    with closing(RunDirectory.resume(path)) as directory:
        directory.adopt()
        last = directory.last_checkpoint()
        if last >= recipe.iterations:
            return Served(path=path, iteration=last, num_trajectories=0, was_complete=True)
        moment = directory.begun()
        teacher = _teacher(recipe, path, source, moment, reporter, num_written=last)
        location = str(directory.checkpoint(last)) if last else student_location(recipe.student)
        student = partial(sampling_student, recipe, location=location, moment=moment)
        return _rolled_out(recipe, directory, last + 1, source, teacher, student, place, reporter)


def _teacher(
    recipe: Recipe,
    path: Path,
    source: TaskSource,
    moment: datetime | None,
    reporter: Reporter,
    *,
    num_written: int,
) -> Teacher:
    teacher = make_teacher(recipe, expert=partial(expert_of, source), moment=moment)
    for note in check_training(
        recipe, run=path, num_written=num_written, is_rolled_out=False, teacher=teacher
    ):
        reporter.note(note)
    return teacher


def _rolled_out(
    recipe: Recipe,
    directory: RunDirectory,
    iteration: int,
    source: TaskSource,
    teacher: Teacher,
    make_student: Callable[[], tuple[Policy, TokenCounter]],
    place: Place,
    reporter: Reporter,
) -> Served:
    from turnmix.gateway.external.rollouts import collect_external
    from turnmix.gateway.serving.gateway_server import admin_key, check_host

    chosen = recipe.rollouts.scaffold
    external = chosen if isinstance(chosen, ExternalSettings) else ExternalSettings()
    host = external.host if place.host is None else place.host
    port = external.port if place.port is None else place.port
    check_host(host, admin_key=admin_key(), port=port)
    plans = rollout_plans(recipe, source, iteration, cohort_size=1)
    log = directory.trajectories
    # Before the event loop: a server of the student's may have to be started.
    made = make_student() if any(plan.trajectory_id not in log for plan in plans) else None

    async def collecting(missing: list[RolloutPlan], keep: Callable[[Trajectory], None]) -> None:
        assert made is not None
        student, counter = made
        asked = teacher.policy() if recipe.asks_teacher else None
        try:
            await collect_external(
                missing,
                parts=external_parts(
                    recipe, source=source, student=student, teacher=asked, count=counter, run=directory
                ),
                keep=keep,
                attempts=recipe.rollouts.attempts,
                host=host,
                port=port,
                admin_key=admin_key(),
                listening=lambda url: reporter.say(
                    f"The gateway listens at {url} (iteration {iteration}, {len(missing)} sessions to come): "
                    f"POST {url}/sessions opens one"
                ),
            )
        finally:
            await student.close()
            if asked is not None:
                await asked.close()

    with (
        told_how_to_go_on(f"go on with: {gateway_command(directory.path, place.host, place.port)}"),
        reporter.progress(seconds=directory.clock.stage_seconds) as progress,
        directory.clock.stage(f"rollout-{iteration:03d}"),
    ):
        roll_out_missing(
            "rollout",
            plans,
            log=log,
            collecting=collecting,
            progress=progress,
            tick=directory.clock.tick,
        )
    return Served(path=directory.path, iteration=iteration, num_trajectories=len(plans), was_complete=False)
