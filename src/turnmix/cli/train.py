"""`turnmix train`: a recipe in, a run directory out."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from turnmix.assembly.learning import load_learning_student, make_scorer
from turnmix.assembly.machine import check_machine, check_models, is_follower
from turnmix.assembly.server import SERVER_LOG
from turnmix.assembly.source import make_source
from turnmix.assembly.student import LearningStudent
from turnmix.assembly.teacher import make_teacher
from turnmix.cli.arguments import names_and_overrides
from turnmix.cli.console import make_console, make_progress, print_warnings, say_note
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.terminal import write_output
from turnmix.environments.environment import expert_of
from turnmix.environments.minirepo.source import MinirepoSource
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.loop.trackers import Trackers
from turnmix.policies.scoring import Scorer
from turnmix.policies.teacher import Teacher
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_yaml
from turnmix.running.continuation import told_how_to_go_on
from turnmix.running.preflight import check_training
from turnmix.running.run_choice import RunChoice, chosen_run, resumed_recipe
from turnmix.store.place import resume_command
from turnmix.store.records import read_summary
from turnmix.store.run_directory import SUMMARY, RunDirectory
from turnmix.viewing.report import (
    control_text,
    drift_text,
    duration_text,
    summary_table,
    untaught_text,
    usage_table,
)
from turnmix.viewing.run_warnings import run_warnings


def train(
    *, words: Sequence[str], run: str | None, resume: str | None, printed: Callable[[Recipe], str] | None
) -> None:
    """Print the recipe as `printed` writes it, begin a run, or go on with one.

    Raises:
        UserError: the words make no run.
        TurnMixError: the run failed, or was stopped; the message says how to go on.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if resume is not None and run is not None:
        raise UserError(f"--run {run} and --resume {resume}: a run goes on where it lies; leave --run out")
    if resume is not None:
        recipe = resumed_recipe(Path(resume), names, overrides)
    elif names:
        recipe = load_recipe(names[0], overrides, say=say_note)
    else:
        raise UserError("name a recipe, such as recipes/minirepo_dagger.yaml, or a run with --resume")
    if printed is not None:
        write_output(printed(recipe))
        return
    if isinstance(recipe.tasks, TaskFileSettings) and recipe.tasks.holdout == "all":
        raise UserError(
            "tasks.holdout = all: these tasks are to evaluate on, and none is left to train on: `turnmix evaluate RUN "
            "RECIPE` takes such a recipe; to train, set tasks.holdout to a number"
        )
    if resume is not None:
        choice = RunChoice(path=Path(resume), is_begun=True)
    else:
        # What is wrong with the recipe is said before what is wrong with the directory.
        check_machine(recipe)
        check_models(recipe)
        choice = chosen_run(recipe, name=names[0], run=run, overrides=overrides)
    # A checkpoint that is not there any more is made again only where that is asked for.
    needed = 0 if resume is None else recipe.iterations
    if choice.is_begun and (summary := _finished(choice.path, needed_checkpoint=needed)) is not None:
        if not is_follower():
            _tell(make_console(), summary, choice.path)
        if resume is None:
            say_note(
                f"{choice.path} holds this recipe's run, complete: to run it again, name another with --run"
            )
        return
    if choice.note is not None:
        say_note(choice.note)
    if resume is not None:
        check_machine(recipe)
        check_models(recipe)
    if is_follower():
        _follow(recipe, choice)
        return
    source = make_source(recipe)
    if choice.is_begun:
        _go_on(recipe, choice.path, source)
    else:
        _begin(recipe, choice.path, source)


def _begin(recipe: Recipe, path: Path, source: MinirepoSource | TaskFileSource) -> None:
    # A student or a teacher that cannot do what the recipe asks leaves no directory behind.
    begun = datetime.now()
    teacher = make_teacher(recipe, expert=partial(expert_of, source), moment=begun)
    _check(recipe, path, teacher, num_written=0, is_rolled_out=False)
    student = load_learning_student(recipe, teacher=teacher, checkpoint=None, moment=begun)
    scorer = make_scorer(recipe, teacher, student)
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe), begun=begun)) as directory:
        try:
            _train(recipe, directory, student, teacher, scorer, source)
        except UserError:  # so does a tracker or a server that does not start
            directory.discard()
            raise


def _go_on(recipe: Recipe, path: Path, source: MinirepoSource | TaskFileSource) -> None:
    with closing(RunDirectory.resume(path)) as directory:
        directory.adopt()
        iteration, trained = directory.last_checkpoint(), directory.last_trained()
        if trained > iteration:
            first = f"{iteration + 1} to " if trained > iteration + 1 else ""
            say_note(
                f"iteration {first}{trained}: no whole checkpoint is there: trained again, from the stored rollouts"
            )
        checkpoint = directory.resumed_checkpoint()
        is_rolled_out = directory.stage_metrics("rollout", recipe.iterations) is not None
        moment = directory.begun()
        teacher = make_teacher(recipe, expert=partial(expert_of, source), moment=moment)
        _check(recipe, path, teacher, num_written=iteration, is_rolled_out=is_rolled_out)
        student = load_learning_student(recipe, teacher=teacher, checkpoint=checkpoint, moment=moment)
        _train(recipe, directory, student, teacher, make_scorer(recipe, teacher, student), source)


def _check(recipe: Recipe, run: Path, teacher: Teacher, *, num_written: int, is_rolled_out: bool) -> None:
    """All that is cheap to check. Prints notes."""
    for note in check_training(
        recipe, run=run, num_written=num_written, is_rolled_out=is_rolled_out, teacher=teacher
    ):
        say_note(note)


def _follow(recipe: Recipe, choice: RunChoice) -> None:
    """Learn beside rank 0, which does all else; Ctrl-C is its business too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGTERM, signal.SIG_DFL
    )  # it may be waiting for the others, where Python hears nothing
    checkpoint = begun = None
    if choice.is_begun:
        with closing(RunDirectory.read(choice.path)) as directory:
            iteration, begun = directory.last_checkpoint(), directory.begun()
            checkpoint = directory.checkpoint(iteration) if iteration else None
    teacher = make_teacher(recipe, expert=None, moment=begun)
    student = load_learning_student(recipe, teacher=teacher, checkpoint=checkpoint, moment=begun)
    student.learner.follow()
    student.close()


def _finished(run: Path, *, needed_checkpoint: int) -> dict[str, Any] | None:
    """The summary of a run in which nothing is left to do."""
    path = run / SUMMARY
    with closing(RunDirectory.read(run)) as directory:
        if directory.last_checkpoint() < needed_checkpoint or not path.is_file():
            return None
    summary = read_summary(path, fix=f"delete it, and go on with: {resume_command(run)}")
    return summary if summary["is_complete"] else None


def _train(
    recipe: Recipe,
    run: RunDirectory,
    student: LearningStudent,
    teacher: Teacher,
    scorer: Scorer | None,
    source: MinirepoSource | TaskFileSource,
) -> None:
    from turnmix.loop.loop import Loop

    console = make_console()
    for change in run.changed_versions():
        note = f"note: {change}: results may differ from an uninterrupted run"
        console.print(printable_line(note))
    with (
        told_how_to_go_on(f"go on with: {resume_command(run.path)}"),
        closing(Trackers(recipe.trackers, run=run.path)) as trackers,
        student.serving(log=run.path / SERVER_LOG, say=console.print),
        make_progress(console, seconds=run.clock.stage_seconds) as progress,
    ):
        loop = Loop(
            recipe,
            run=run,
            source=source,
            teacher=teacher.policy,
            scorer=scorer,
            student=student,
            progress=progress,
            metrics=trackers,
        )
        summary = loop.run()
        student.close()
    _tell(console, summary, run.path)


def _tell(console: Console, summary: dict[str, Any], run: Path) -> None:
    """How a run came out, and where it lies."""
    console.print()
    console.print(summary_table(summary))
    console.print()
    if (asked := usage_table(summary)) is not None:
        console.print(asked)
        console.print()
    print_warnings(console, run_warnings(summary))
    for told in (
        untaught_text(summary),
        drift_text(summary.get("drift", {})),
        control_text(summary.get("control_texts", {})),
    ):
        if told:
            console.print(printable_line(told))
    console.print(printable_line(f"Took {duration_text(summary['wall_seconds'])}. Results lie in {run}"))
    console.print(printable_line(f"Look at trajectories: turnmix show {shlex.quote(str(run))}"))
