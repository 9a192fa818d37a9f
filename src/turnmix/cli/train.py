"""`turnmix train`: a recipe in, a run directory out."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from turnmix.assembly import LearningStudent, check_machine, check_models, is_follower, make_source
from turnmix.cli.console import make_console, make_progress, print_warnings, say_note
from turnmix.cli.going_on import told_how_to_go_on
from turnmix.cli.words import names_and_overrides
from turnmix.config import Recipe, load_recipe, recipe_yaml
from turnmix.core.errors import RecipeError, UserError
from turnmix.environments.minirepo.source import MinirepoSource
from turnmix.environments.swe.source import TaskFileSettings, TaskFileSource
from turnmix.policies.scoring import Scorer
from turnmix.report import control_text, drift_text, duration_text, summary_table, untaught_text
from turnmix.run_warnings import run_warnings
from turnmix.serving import SERVER_LOG
from turnmix.store.differences import differences
from turnmix.store.run_directory import RunDirectory, check_is_free
from turnmix.tracking import Trackers


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
        recipe = _resumed_recipe(Path(resume), names, overrides)
    elif names:
        recipe = load_recipe(names[0], overrides, say=say_note)
    else:
        raise UserError("name a recipe, such as recipes/minirepo_dagger.yaml, or a run with --resume")
    if printed is not None:
        print(printed(recipe), end="")
        return
    if isinstance(recipe.tasks, TaskFileSettings) and recipe.tasks.holdout == "all":
        raise UserError(
            "tasks.holdout = all: these tasks are to evaluate on, and none is left to train on: `turnmix evaluate RUN "
            "RECIPE` takes such a recipe; to train, set tasks.holdout to a number"
        )
    if resume is not None and (summary := _finished(Path(resume), recipe)) is not None:
        if not is_follower():
            _tell(make_console(), summary, Path(resume))
        return
    check_machine(recipe)
    # What is wrong with the recipe is said before what is wrong with the directory.
    check_models(recipe)
    if is_follower():
        _follow(recipe, resume)
        return
    source = make_source(recipe)
    if resume is not None:
        with closing(RunDirectory.resume(Path(resume))) as directory:
            iteration = directory.last_checkpoint()
            checkpoint = directory.checkpoint(iteration) if iteration else None
            student = LearningStudent.load(recipe, checkpoint=checkpoint, moment=directory.begun())
            _train(recipe, directory, student, student.scorer(), source)
        return
    path = Path(run) if run is not None else Path("runs") / Path(names[0]).stem
    check_is_free(path)
    # A student or a teacher that cannot do what the recipe asks leaves no directory behind.
    begun = datetime.now()
    student = LearningStudent.load(recipe, checkpoint=None, moment=begun)
    scorer = student.scorer()
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe), begun=begun)) as directory:
        _train(recipe, directory, student, scorer, source)


def _follow(recipe: Recipe, resume: str | None) -> None:
    """Learn beside rank 0, which does all else; Ctrl-C is its business too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGTERM, signal.SIG_DFL
    )  # it may be waiting for the others, where Python hears nothing
    checkpoint = None
    if resume is not None:
        with closing(RunDirectory.read(Path(resume))) as directory:
            iteration = directory.last_checkpoint()
            checkpoint = directory.checkpoint(iteration) if iteration else None
    student = LearningStudent.load(recipe, checkpoint=checkpoint)
    student.learner.follow()
    student.close()


def _finished(run: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The summary of a run in which nothing is left to do."""
    with closing(RunDirectory.read(run)) as directory:
        if directory.last_checkpoint() < recipe.iterations or not (run / "summary.json").is_file():
            return None
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return summary if summary["is_complete"] else None


def _train(
    recipe: Recipe,
    run: RunDirectory,
    student: LearningStudent,
    scorer: Scorer | None,
    source: MinirepoSource | TaskFileSource,
) -> None:
    from turnmix.loop import Loop

    console = make_console()
    for change in run.changed_versions():
        console.print(f"note: {change}: results may differ from an uninterrupted run", highlight=False)
    with (
        told_how_to_go_on(f"go on with: turnmix train --resume {run.path}"),
        closing(Trackers(recipe.trackers, run=run.path)) as trackers,
        student.serving(log=run.path / SERVER_LOG, say=partial(console.print, markup=False)),
        make_progress(console, seconds=run.clock.stage_seconds) as progress,
    ):
        loop = Loop(
            recipe,
            run=run,
            source=source,
            teacher=student.teacher.opener(source.solution),
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
    console.print(summary_table(summary), highlight=False)
    console.print()
    print_warnings(console, run_warnings(summary))
    for told in (
        untaught_text(summary),
        drift_text(summary["drift"]),
        control_text(summary.get("control_texts", {})),
    ):
        if told:
            console.print(told, highlight=False)
    console.print(f"Took {duration_text(summary['wall_seconds'])}. Results lie in {run}", highlight=False)
    console.print(f"Look at trajectories: turnmix show {run}", highlight=False)


def _resumed_recipe(run: Path, names: Sequence[str], overrides: Sequence[str]) -> Recipe:
    """The recipe of a run. One given again must be the same: its secrets alone may be new."""
    with closing(RunDirectory.read(run)) as directory:
        stored_path = directory.recipe_path
    stored = yaml.safe_load(stored_path.read_text(encoding="utf-8"))
    recipe = load_recipe(names[0] if names else str(stored_path), overrides)
    given = yaml.safe_load(recipe_yaml(recipe))
    for field, was, now in differences(stored, given):
        raise RecipeError(
            f"{field}: {now!r}, but the run in {run} was begun with {was!r}: a run goes on with its own "
            "recipe; leave recipe and overrides out, or begin another run with --run"
        )
    return recipe
