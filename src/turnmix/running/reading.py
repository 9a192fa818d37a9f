"""A run, or an evaluation, read from its directory: also one that is being written, or that an older TurnMix wrote.

In: a path. Out: a `Run`. Nothing that its recipe names is imported or started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory
from turnmix.recipe.recipe import Recipe, stored_recipe
from turnmix.store.append_log import TrajectoryLog
from turnmix.store.evaluation_directory import RESULTS
from turnmix.store.place import RECIPE, resume_command
from turnmix.store.record_files import read_results, read_summary
from turnmix.store.run_directory import EVALUATION, SUMMARY, RunDirectory


@dataclass(frozen=True, slots=True)
class Run:
    """What a directory holds of a run, or of an evaluation. Each question reads anew what is there by then."""

    path: Path

    @property
    def recipe(self) -> Recipe:
        """With every default. It is to be read, not to be run: code that it names is not imported."""
        return stored_recipe(self.path / RECIPE)

    @property
    def is_evaluation(self) -> bool:
        """Its directory was written by an evaluation: it has `evaluations`, and no rollouts of training tasks."""
        return (self.path / EVALUATION).is_file()

    @property
    def is_complete(self) -> bool:
        """Nothing is left to do."""
        found = self._figures()
        return found is not None and bool(found.get("is_complete", self.is_evaluation))

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of all iterations, or of an evaluation, as `summary.json` or `results.json` holds them. Raises
        UserError: there are none yet, which `is_complete` and `metrics` say without an error."""
        found = self._figures()
        if found is None:
            raise UserError(f"{self.path}: has no summary yet: it is not finished")
        return found

    def _figures(self) -> dict[str, Any] | None:
        if self.is_evaluation:
            results = self.path / RESULTS
            return read_results(results) if results.is_file() else None
        path = self.path / SUMMARY
        fix = f"delete it, and go on with: {resume_command(self.path)}"
        return read_summary(path, fix=fix) if path.is_file() else None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What each finished stage recorded: `iteration`, `stage` and its figures, in the order of their ends."""
        with closing(RunDirectory.read(self.path)) as directory:
            return list(directory.metrics.records(directory.metrics.ids))

    def trajectories(self, iteration: int | None = None) -> Iterator[Trajectory]:
        """The rollouts of the training tasks, of one iteration or of all."""
        with closing(RunDirectory.read(self.path)) as directory:
            yield from _read(directory.trajectories, iteration)

    def evaluations(self, iteration: int | None = None) -> Iterator[Trajectory]:
        """The trajectories on holdout tasks, of one iteration or of all; 0: the base student's."""
        with closing(RunDirectory.read(self.path)) as directory:
            yield from _read(directory.evaluations, iteration)

    def checkpoint(self, iteration: int | None = None) -> Path | None:
        """The checkpoint after an iteration, or the last one; None: it is not there."""
        with closing(RunDirectory.read(self.path)) as directory:
            number = directory.last_checkpoint() if iteration is None else iteration
            path = directory.checkpoint(number)
        return path if number and path.is_dir() else None


def read_run(path: str | os.PathLike[str]) -> Run:
    """The run, or the evaluation, in a directory. Raises UserError: there is none."""
    run = Run(Path(path))
    RunDirectory.read(run.path).close()
    return run


def _read(log: TrajectoryLog, iteration: int | None) -> Iterator[Trajectory]:
    for trajectory in log.read(log.ids):
        if iteration is None or trajectory.iteration == iteration:
            yield trajectory
