"""One run's directory. All that a resumed run needs, and all that a reader of its results looks at.

.made-here          the seal by which this machine knows the recipe for the user's own
recipe.yaml         the resolved recipe, every default in it
versions.json       with what the run was begun, and when: what its templates show as today
trajectories.jsonl  one line a trajectory, as it ended
evaluations.jsonl   the same for evaluations
metrics.jsonl       one line a finished stage (rollout, train, evaluate) of an iteration
untaught.json       the first target that was not taught for each reason, where there is one
checkpoints/        iteration-001/ …, in Hugging Face format
summary.json        the figures of the run so far
tensorboard/        the same figures, and every optimiser step's, for tensorboard
trackers.json       what each tracker calls the run
gateway/            the journals of open sessions of `turnmix gateway`
clock.json          seconds, over all processes that worked on the run
scaffold-logs/      what scaffolds of the user's own said, a file a trajectory
evaluations/        one directory for each evaluation of it by `turnmix evaluate`
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import write_atomically
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.own_file import open_own_directory
from turnmix.core.untaught import Untaught
from turnmix.store.append_log import FIX, AppendLog, TrajectoryLog
from turnmix.store.clock import RunClock
from turnmix.store.lock import locked
from turnmix.store.made_here import seal
from turnmix.store.place import (
    RECIPE,
    check_holds_run,
    check_is_free,
    check_leads_nowhere,
    empty,
    open_place,
    resume_command,
)
from turnmix.store.record_files import read_evaluation
from turnmix.store.records import STAGES, checked
from turnmix.store.untaught_examples import keep_examples
from turnmix.store.versions import changed_versions, when_begun, write_versions
from turnmix.training.checkpoint_files import (
    LEARNER_FILE,
    checkpoint_name,
    has_learner,
    prune,
    whole_checkpoints,
    without_learner,
)

EVALUATION = "evaluation.json"
"""In a directory that holds an evaluation, not a run."""
EVALUATIONS = "evaluations.jsonl"
UNTAUGHT = "untaught.json"
SUMMARY = "summary.json"
EVALUATION_FOLDER = "evaluations"
CHECKPOINTS = "checkpoints"
SESSIONS = "gateway"


class RunDirectory:
    """An open run. Made by `create`, `resume` or `read`, never directly."""

    def __init__(self, path: Path, *, lock: int | None) -> None:
        self.path = path
        self._lock = lock
        self._is_writable = lock is not None
        self._figures: dict[str, dict[str, Any]] = {}
        """What finished stages recorded, as far as it was read: it never changes."""
        self.clock = RunClock(path / "clock.json")
        self._recording = threading.Lock()
        if lock is not None:  # what is damaged is told before any work, and a line cut short is dropped
            self._logs()

    @classmethod
    def create(cls, path: Path, *, recipe_yaml: str, begun: datetime | None = None) -> RunDirectory:
        """Begin a run in a directory that is new or empty, at the moment `begun`; None: now.

        Raises:
            UserError: something is there already, or the directory cannot be made.
        """
        check_is_free(path)
        was_there = path.is_dir()
        lock = None
        try:
            os.close(open_place(path))
            lock = _locked(path)
            check_is_free(path)
            write_versions(path, recipe_yaml=recipe_yaml, begun=begun or datetime.now())
            seal(path, recipe_yaml)
            write_atomically(path / RECIPE, recipe_yaml)
            return cls(path, lock=lock)
        except OSError as error:
            if lock is not None:
                empty(path, leaves_directory=was_there)
                os.close(lock)
            raise UserError(
                f"run directory {path} cannot be written: {error.strerror}: name another with --run"
            ) from error

    @classmethod
    def resume(cls, path: Path) -> RunDirectory:
        """Open a run to continue it.

        Raises:
            UserError: there is no run, or another process is writing it.
        """
        check_holds_run(path)
        if (path / EVALUATION).is_file():
            raise UserError(
                f"{path} holds an evaluation, not a run: the `turnmix evaluate` that made it goes on with it"
            )
        lock = None
        try:
            check_leads_nowhere(path)
            lock = _locked(path)
            return cls(path, lock=lock)
        except UserError:  # who mends what is damaged opens it again
            if lock is not None:
                os.close(lock)
            raise
        except OSError as error:
            if lock is not None:
                os.close(lock)
            where = "" if error.filename in (None, str(path)) else f"{error.filename}: "
            raise UserError(
                f"run directory {path} cannot be written: {where}{error.strerror}: see to that, and go on with: "
                f"{resume_command(path)}"
            ) from error

    @classmethod
    def read(cls, path: Path) -> RunDirectory:
        """Open a run to look at it, also while another process writes it. Logs are read when asked for.

        Raises:
            UserError: there is no run.
        """
        check_holds_run(path)
        return cls(path, lock=None)

    @cached_property
    def trajectories(self) -> TrajectoryLog:
        return TrajectoryLog(self.path / "trajectories.jsonl", is_writable=self._is_writable)

    @cached_property
    def evaluations(self) -> TrajectoryLog:
        return TrajectoryLog(self.path / EVALUATIONS, is_writable=self._is_writable)

    @cached_property
    def scores(self) -> AppendLog:
        """The teacher's log-probabilities of the student's tokens, by trajectory."""
        return AppendLog(self.path / "scores.jsonl", is_writable=self._is_writable)

    @cached_property
    def metrics(self) -> AppendLog:
        return AppendLog(self.path / "metrics.jsonl", is_writable=self._is_writable)

    def adopt(self) -> None:
        """Its recipe is the user's from now on: all of it that has power was said by the user. Raises OSError."""
        seal(self.path, self.recipe_path.read_text(encoding="utf-8"))

    @property
    def recipe_path(self) -> Path:
        return self.path / RECIPE

    def changed_versions(self) -> Iterator[str]:
        """What differs between the versions that the run was begun with and those now running."""
        return changed_versions(self.path, recipe=self.path / RECIPE)

    def begun(self) -> datetime | None:
        """The moment that the run's templates show as now; None: it was not noted."""
        return when_begun(self.path)

    def checkpoint(self, iteration: int) -> Path:
        """Where the checkpoint after `iteration` is, or will be."""
        return self.path / CHECKPOINTS / checkpoint_name(iteration)

    def new_checkpoint(self, iteration: int) -> Path:
        """As `checkpoint`, once it can be written there. Raises OSError: a link leads elsewhere."""
        os.close(open_own_directory(self.path / CHECKPOINTS, is_made=True))
        return self.checkpoint(iteration)

    def last_checkpoint(self) -> int:
        """The last iteration with a whole checkpoint, whichever of those before are there; 0: none."""
        return max(whole_checkpoints(self.path / CHECKPOINTS), default=0)

    def last_trained(self) -> int:
        """The last iteration whose training is recorded, also where its checkpoint is not there; 0: none yet."""
        found = (re.fullmatch(r"train-(\d{3,9})", record_id, re.ASCII) for record_id in self.metrics.ids)
        return max((int(match[1]) for match in found if match), default=0)

    def resumed_checkpoint(self) -> Path | None:
        """The last checkpoint, with which the run goes on; None: there is none yet.

        Raises:
            UserError: the optimiser's state is not in it.
        """
        if not (iteration := self.last_checkpoint()):
            return None
        checkpoint = self.checkpoint(iteration)
        if not has_learner(checkpoint):
            raise UserError(
                f"{checkpoint} holds no {LEARNER_FILE}: the optimiser's state stays with the last checkpoint alone, "
                f"and {without_learner(checkpoint)}"
            )
        return checkpoint

    def prune_checkpoints(self, keep: int | None) -> None:
        """Leave the last `keep` checkpoints, None: all, and those of which an evaluation lies here; and one optimiser's
        state."""
        subjects = (self.path / EVALUATION_FOLDER).glob(f"*/{EVALUATION}")
        named = {
            Path(read_evaluation(subject, fix="delete that evaluation")["student"]).name
            for subject in subjects
        }
        prune(self.path / CHECKPOINTS, keep=keep, named=named)

    def stage_metrics(self, stage: str, iteration: int) -> dict[str, Any] | None:
        """What a finished stage of an iteration recorded; None while it is not finished."""
        record_id = stage_id(stage, iteration)
        if record_id not in self._figures and record_id in self.metrics:
            (figures,) = self.metrics.records([record_id])
            where = f"{self.metrics.path}: the record {record_id}"
            self._figures[record_id] = checked(figures, STAGES[stage], where=where, fix=FIX)
        return self._figures.get(record_id)

    def record_stage(self, stage: str, iteration: int, figures: Mapping[str, Any]) -> None:
        """Note that a stage has finished, and with what figures."""
        record = {"id": stage_id(stage, iteration), "iteration": iteration, "stage": stage, **figures}
        with self._recording:  # stages may run beside each other
            self.metrics.append_record(record)

    def check_rollouts(self, iterations: Iterable[int]) -> None:
        """Raises UserError: of these, one has fewer trajectories than were rolled out, so what is learned would be
        another thing."""
        for iteration in iterations:
            recorded = (self.stage_metrics("rollout", iteration) or {}).get("rollouts", 0)
            if (held := len(self.trajectories.ids_of(f"i{iteration:03d}"))) < recorded:
                raise UserError(
                    f"{self.trajectories.path} holds {held} of the {recorded} trajectories of iteration {iteration}, "
                    "of which the run is to learn: put the others back, or begin another run"
                )

    def num_steps(self, iteration: int) -> int:
        """Optimiser steps of all training up to `iteration`, as far as it is recorded."""
        trained = (self.stage_metrics("train", past) for past in range(1, iteration + 1))
        return sum(len(figures.get("step_losses", ())) for figures in trained if figures is not None)

    def keep_untaught(self, iteration: int, untaught: Iterable[Untaught]) -> None:
        keep_examples(self.path / UNTAUGHT, untaught, iteration=iteration)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_atomically(self.path / SUMMARY, json_text(summary, indent=2) + "\n")

    def discard(self) -> None:
        """Leave nothing of a run that could not begin. One that has stored anything is not touched."""
        if not any(map(len, self._logs())):
            empty(self.path, leaves_directory=False)

    def close(self) -> None:
        """Free the lock. Safe to call twice."""
        if self._lock is not None:
            for log in self._logs():
                log.close()
            # A full disk costs the last seconds of the clock, not the message that says so.
            if self.path.is_dir():
                with contextlib.suppress(OSError):
                    self.clock.write()
            os.close(self._lock)
            self._lock = None

    def _logs(self) -> tuple[AppendLog, ...]:
        return (self.trajectories, self.evaluations, self.scores, self.metrics)


def stage_id(stage: str, iteration: int) -> str:
    """A stage's name in `metrics.jsonl` and `clock.json`."""
    return f"{stage}-{iteration:03d}"


def _locked(path: Path) -> int:
    return locked(path, kind="run", option="--run")
