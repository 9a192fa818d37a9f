"""One evaluation's directory. `turnmix evaluate` goes on with it, `turnmix show` reads it.

recipe.yaml        the resolved recipe, every default in it
evaluation.json    which student, and the recipe's name
versions.json      with what it was begun
evaluations.jsonl  one line a trajectory, as it ended
results.json       the figures; once all is there; beside it what the tasks' own domain adds, such as predictions.jsonl
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.yaml_text import yaml_value
from turnmix.rollout.plan import RolloutPlan
from turnmix.store.append_log import TrajectoryLog
from turnmix.store.differences import differences
from turnmix.store.lock import LOCK, locked
from turnmix.store.made_here import SEAL, is_made_here, seal
from turnmix.store.place import RECIPE, open_place
from turnmix.store.record_files import read_evaluation
from turnmix.store.run_directory import EVALUATION, EVALUATIONS
from turnmix.store.versions import VERSIONS, changed_versions, write_versions

RESULTS = "results.json"
MOST_RECIPE_BYTES = 1 << 20
_ANOTHER = "name another directory with --output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What an evaluation is of."""

    student: str
    """Where the student lies: a directory, or a hub id."""
    weights: str | None
    """A digest of the files in it; None: a hub id."""
    recipe: str
    """As the user named it."""
    recipe_yaml: str
    """The resolved recipe."""

    def differences(self, path: Path) -> Iterator[str]:
        """What is other in the evaluation in `path`. The student is known by its files, wherever they lie."""
        stored = read_evaluation(path / EVALUATION, fix=_ANOTHER)
        begun_with = stored.get("weights")
        if self.weights is None or begun_with is None:
            if self.student != stored["student"]:
                yield f"student: {self.student}, but the evaluation in {path} is of {stored['student']}"
        elif self.weights != begun_with:
            was = "what lay there" if stored["student"] == self.student else stored["student"]
            yield f"student: {self.student}, but the evaluation in {path} is of {was}, whose files are others"
        recipes = [_stored_recipe(path / RECIPE), yaml_value(self.recipe_yaml)]
        for recipe in recipes:
            if isinstance(student := recipe.get("student"), dict):
                student.pop("model", None)
        for field, was, now in differences(*recipes):
            yield f"{field}: {now!r}, but the evaluation in {path} was begun with {was!r}"


def _stored_recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = yaml_value(read_bounded(path, most=MOST_RECIPE_BYTES).decode())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): name another directory with --output") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} holds no recipe: name another directory with --output")
    return recipe


class EvaluationDirectory:
    """An open evaluation. Made by `open`, never directly."""

    def __init__(self, path: Path, *, lock: int, directory: int) -> None:
        self.path = path
        self._lock: int | None = lock
        self._directory = directory
        """It stays the one that was opened, whatever its path comes to mean."""
        self.trajectories = TrajectoryLog(path / EVALUATIONS, directory=directory)

    @classmethod
    def open(
        cls, path: Path, evaluated: Evaluated, *, begun: datetime | None = None, run: Path | None = None
    ) -> EvaluationDirectory:
        """Begin an evaluation in a directory that is new or empty, or go on with it. `begun`: the moment that its
        templates show as now; None: now. `run`: the one that it lies in, if any is known.

        Raises:
            UserError: see `has_begun`; or another process is writing it, or it cannot be made.
        """
        has_begun(path, evaluated)
        try:
            directory = open_place(path, run=run)
            lock = locked(path, kind="evaluation", option="--output", descriptor=directory)
            if not has_begun(path, evaluated):
                subject = asdict(evaluated)
                recipe_yaml = subject.pop("recipe_yaml")
                write_versions(
                    path, recipe_yaml=recipe_yaml, begun=begun or datetime.now(), descriptor=directory
                )
                text = json_text(subject, indent=2) + "\n"
                write_atomically(path / EVALUATION, text, directory=directory)
                seal(path, recipe_yaml, descriptor=directory)
                write_atomically(path / RECIPE, recipe_yaml, directory=directory)
            return cls(path, lock=lock, directory=directory)
        except OSError as error:
            where = "" if error.filename in (None, str(path)) else f"{error.filename}: "
            raise UserError(f"evaluation directory {path}: {where}{error.strerror}: {_ANOTHER}") from error

    def changed_versions(self) -> Iterator[str]:
        """What differs between the versions that it was begun with and those now running."""
        return changed_versions(self.path, recipe=self.path / RECIPE)

    def is_made_here(self) -> bool:
        """This user began it on this machine, in this place."""
        return is_made_here(self.path / RECIPE)

    def check_tasks(self, plans: Sequence[RolloutPlan]) -> None:
        """Raises UserError: a trajectory that is here is of another task than its plan."""
        planned = {plan.trajectory_id: plan.task.id for plan in plans}
        for record in self.trajectories.records(self.trajectories.ids):
            if (task := planned.get(record["id"])) != (was := record.get("task_id")):
                raise UserError(
                    f"tasks: {record['id']} is now {task}, but the evaluation in {self.path} was begun where it "
                    f"was {was}: {_ANOTHER}"
                )

    def write_results(self, results: Mapping[str, Any]) -> None:
        text = json_text(results, indent=2) + "\n"
        write_atomically(self.path / RESULTS, text, directory=self._directory)

    def add_file(self, name: str, text: str) -> None:
        """What the tasks' own domain makes of the trajectories."""
        write_atomically(self.path / name, text, directory=self._directory)

    def close(self) -> None:
        """Free the lock. Safe to call twice."""
        self.trajectories.close()
        if self._lock is not None:
            os.close(self._lock)
            os.close(self._directory)
            self._lock = None


def has_begun(path: Path, evaluated: Evaluated) -> bool:
    """Is this evaluation there, to go on with? Else it can begin there.

    Raises:
        UserError: the directory holds something else, or the evaluation of another student or recipe.
    """
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if {RECIPE, EVALUATION} <= names:
        if others := list(evaluated.differences(path)):
            more = f" (and {len(others) - 1} more differences)" if others[1:] else ""
            raise UserError(f"{others[0]}{more}: {_ANOTHER}")
        return True
    # One killed before its recipe was written has no more than this, and is begun anew.
    taken = sorted(
        name for name in names - {LOCK, SEAL, VERSIONS, EVALUATION} if not name.endswith(".partial")
    )
    if taken:
        raise UserError(f"evaluation directory {path} is not empty ({taken[0]} is in it): {_ANOTHER}")
    return False
