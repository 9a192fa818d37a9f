"""A training run, from its recipe to its end: which directory it has, what is checked before it, and the loop.

In: a recipe, and where the run goes or lies. Out: its directory and its summary. Stopped at any moment, it goes on from
there.
"""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from turnmix.assembly.learning import load_learning_student, make_scorer
from turnmix.assembly.machine import check_machine, check_models, is_follower
from turnmix.assembly.server import SERVER_LOG, MakeServing, make_student_server
from turnmix.assembly.source import check_accidents, check_split, make_source
from turnmix.assembly.student import LearningStudent
from turnmix.assembly.teacher import make_teacher
from turnmix.cluster.connection import connected
from turnmix.cluster.learning import PlacedStudent, place_student
from turnmix.cluster.rollouts import cluster_rollouts
from turnmix.cluster.servers import PlacedServers
from turnmix.core.errors import UserError
from turnmix.environments.environment import TaskSource, expert_of
from turnmix.loop.plans import is_rolled_out_elsewhere, num_missing
from turnmix.loop.trackers import Trackers
from turnmix.policies.scoring import Scorer
from turnmix.policies.teacher import Teacher
from turnmix.recipe.recipe import Recipe, recipe_yaml
from turnmix.running.continuation import told_how_to_go_on
from turnmix.running.imported_data import Imported, imported_by
from turnmix.running.preflight import check_training
from turnmix.running.reporter import Reporter
from turnmix.running.run_choice import RunChoice, chosen_run
from turnmix.store.place import gateway_command, resume_command
from turnmix.store.record_files import read_summary
from turnmix.store.run_directory import SUMMARY, RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A run that has ended."""

    path: Path
    summary: dict[str, Any] | None
    """None: in another process, which leads this one."""
    was_complete: bool = False
    """There was nothing left to do."""


def begin_run(
    recipe: Recipe, *, name: str, run: str | None, overrides: Sequence[str] = (), reporter: Reporter
) -> Trained:
    """A new run of `recipe`, or the one of the same recipe that is there already. `name`: what the recipe is called, by
    which its run is called too where `run`, its directory, is None; `overrides`: by which it was changed.

    Raises:
        UserError: the recipe cannot be run here, or the directory holds something else.
        TurnMixError: the run failed; the message says how to go on.
    """
    check_is_for_training(recipe)
    # What is wrong with the recipe is said before what is wrong with the directory.
    check_machine(recipe)
    check_models(recipe)
    choice = chosen_run(recipe, name=name, run=run, overrides=overrides)
    # A checkpoint that is not there any more is made again only where that is asked for.
    if choice.is_begun and (summary := _finished(choice.path, needed_checkpoint=0)) is not None:
        return Trained(path=choice.path, summary=_told_here(summary), was_complete=True)
    if is_rolled_out_elsewhere(recipe) and not choice.is_begun:
        first = shlex.join(["turnmix", "gateway", name, *overrides, "--run", str(choice.path)])
        why = (
            "rollouts.scaffold.kind: 'external'"
            if recipe.rollouts.scaffold
            else "rollouts.scaffold: left out"
        )
        raise UserError(
            f"{why}: scaffolds that start themselves roll out: begin with `{first}`, learn "
            f"with `{resume_command(choice.path)}`, and so on in turn"
        )
    if choice.note is not None:
        reporter.note(choice.note)
    return _train(recipe, choice, reporter)


def resume_run(recipe: Recipe, run: Path, *, reporter: Reporter) -> Trained:
    """Go on with a run, whose recipe it is. Raises as above."""
    check_is_for_training(recipe)
    choice = RunChoice(path=run, is_begun=True)
    if (summary := _finished(run, needed_checkpoint=recipe.iterations)) is not None:
        return Trained(path=run, summary=_told_here(summary), was_complete=True)
    check_machine(recipe)
    check_models(recipe)
    return _train(recipe, choice, reporter)


def check_is_for_training(recipe: Recipe) -> None:
    """Raises UserError: nothing is left to train on."""
    if recipe.tasks.is_for_evaluation:
        raise UserError(
            "tasks.holdout = all: these tasks are to evaluate on, and none is left to train on: `turnmix evaluate RUN "
            "RECIPE` takes such a recipe; to train, set tasks.holdout to a number"
        )


def _finished(run: Path, *, needed_checkpoint: int) -> dict[str, Any] | None:
    """The summary of a run in which nothing is left to do."""
    path = run / SUMMARY
    with closing(RunDirectory.read(run)) as directory:
        if directory.last_checkpoint() < needed_checkpoint or not path.is_file():
            return None
    summary = read_summary(path, fix=f"delete it, and go on with: {resume_command(run)}")
    return summary if summary["is_complete"] else None


def _told_here(summary: dict[str, Any]) -> dict[str, Any] | None:
    return None if is_follower() else summary


def _train(recipe: Recipe, choice: RunChoice, reporter: Reporter) -> Trained:
    if is_follower():
        _follow(recipe, choice)
        return Trained(path=choice.path, summary=None)
    source = make_source(recipe)
    if recipe.data.messages is None:
        check_split(recipe, source, "train")
        check_accidents(recipe, source)
    if recipe.evaluation.tasks:
        check_split(recipe, source, "holdout")
    run = _go_on if choice.is_begun else _begin
    return Trained(path=choice.path, summary=run(recipe, choice.path, source, reporter))


def _begin(recipe: Recipe, path: Path, source: TaskSource, reporter: Reporter) -> dict[str, Any]:
    # A student or a teacher that cannot do what the recipe asks leaves no directory behind.
    begun = datetime.now()
    imported = imported_by(recipe, is_stored=False)
    teacher = make_teacher(recipe, expert=partial(expert_of, source), moment=begun)
    _check(recipe, path, teacher, reporter, num_written=0, is_rolled_out=False)
    student = _student(recipe, path, teacher=teacher, checkpoint=None, moment=begun)
    scorer = make_scorer(recipe, teacher, student)
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe), begun=begun)) as directory:
        try:
            return _loop(recipe, directory, student, teacher, scorer, source, imported, reporter)
        except UserError:  # so does a tracker or a server that does not start
            directory.discard()
            raise


def _go_on(recipe: Recipe, path: Path, source: TaskSource, reporter: Reporter) -> dict[str, Any]:
    with closing(RunDirectory.resume(path)) as directory:
        directory.adopt()
        iteration, trained = directory.last_checkpoint(), directory.last_trained()
        if trained > iteration:
            first = f"{iteration + 1} to " if trained > iteration + 1 else ""
            reporter.note(
                f"iteration {first}{trained}: no whole checkpoint is there: trained again, from the stored rollouts"
            )
        if is_rolled_out_elsewhere(recipe):
            _check_is_rolled_out(recipe, directory, source, iteration + 1)
        checkpoint = directory.resumed_checkpoint()
        imported = imported_by(recipe, is_stored=directory.stage_metrics("rollout", 1) is not None)
        is_rolled_out = directory.stage_metrics("rollout", recipe.iterations) is not None
        moment = directory.begun()
        teacher = make_teacher(recipe, expert=partial(expert_of, source), moment=moment)
        _check(recipe, path, teacher, reporter, num_written=iteration, is_rolled_out=is_rolled_out)
        student = _student(recipe, path, teacher=teacher, checkpoint=checkpoint, moment=moment)
        scorer = make_scorer(recipe, teacher, student)
        return _loop(recipe, directory, student, teacher, scorer, source, imported, reporter)


def _student(
    recipe: Recipe, run: Path, *, teacher: Teacher, checkpoint: Path | None, moment: datetime | None
) -> LearningStudent | PlacedStudent:
    """One that learns in this process, or where Ray places it; it acts through what the recipe says."""
    cluster = recipe.cluster
    make_server: MakeServing = make_student_server
    if cluster is not None and cluster.servers:
        make_server = partial(PlacedServers, run=run, moment=moment)
    is_placed = cluster is not None and cluster.learners > 0
    load = partial(place_student, run=run) if is_placed else load_learning_student
    return load(recipe, teacher=teacher, checkpoint=checkpoint, moment=moment, make_server=make_server)


def _check_is_rolled_out(recipe: Recipe, directory: RunDirectory, source: TaskSource, iteration: int) -> None:
    """Raises UserError: there is nothing to learn from."""
    is_left = iteration <= recipe.iterations
    if is_left and (missing := num_missing(recipe, source, iteration, run=directory)):
        path = directory.path
        raise UserError(
            f"iteration {iteration} lacks {missing} trajectories, which scaffolds that start themselves roll out: "
            f"serve them with `{gateway_command(path, None, None)}`, then learn with `{resume_command(path)}`"
        )


def _check(
    recipe: Recipe, run: Path, teacher: Teacher, reporter: Reporter, *, num_written: int, is_rolled_out: bool
) -> None:
    """All that is cheap to check."""
    for note in check_training(
        recipe, run=run, num_written=num_written, is_rolled_out=is_rolled_out, teacher=teacher
    ):
        reporter.note(note)


def _follow(recipe: Recipe, choice: RunChoice) -> None:
    """Learn beside rank 0, which does all else; Ctrl-C is its business too."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # It may be waiting for the others, where Python hears nothing.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    checkpoint = begun = None
    if choice.is_begun:
        with closing(RunDirectory.read(choice.path)) as directory:
            iteration, begun = directory.last_checkpoint(), directory.begun()
            checkpoint = directory.checkpoint(iteration) if iteration else None
    teacher = make_teacher(recipe, expert=None, moment=begun)
    student = load_learning_student(recipe, teacher=teacher, checkpoint=checkpoint, moment=begun)
    student.learner.follow()
    student.close()


def _loop(
    recipe: Recipe,
    run: RunDirectory,
    student: LearningStudent | PlacedStudent,
    teacher: Teacher,
    scorer: Scorer | None,
    source: TaskSource,
    imported: Imported | None,
    reporter: Reporter,
) -> dict[str, Any]:
    from turnmix.loop.loop import Loop

    for change in run.changed_versions():
        reporter.say(f"note: {change}: results may differ from an uninterrupted run")
    with (
        told_how_to_go_on(f"go on with: {resume_command(run.path)}"),
        closing(Trackers(recipe.trackers, run=run.path)) as trackers,
        connected(recipe.cluster, run=run.path.name),
        student.serving(log=run.path / SERVER_LOG, say=reporter.say),
        cluster_rollouts(recipe, directory=run.path, moment=run.begun(), say=reporter.say) as workers,
        reporter.progress(seconds=run.clock.stage_seconds) as progress,
    ):
        loop = Loop(
            recipe,
            run=run,
            source=source,
            teacher=teacher.policy,
            scorer=scorer,
            imported=imported,
            student=student
            if workers is None
            else workers.acting(student, checkpoint=run.resumed_checkpoint()),
            progress=progress,
            metrics=trackers,
            workers=workers,
        )
        summary = loop.run()
        student.close()
    return summary
