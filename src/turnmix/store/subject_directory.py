"""A directory of what one student did: an evaluation's, or an analysis's. It is begun once, and gone on with.

In: who is looked at, by which recipe. Out: an open directory that one process at a time may write.

recipe.yaml      the resolved recipe, every default in it
versions.json    with what it was begun
evaluation.json  which student, and the recipe's name; of an analysis analysis.json
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import Self

from turnmix.cluster.settings import without_cluster
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
from turnmix.store.versions import VERSIONS, changed_versions, write_versions

MOST_RECIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryKind:
    """What lies in a directory, and what is said of it."""

    name: str
    file: str
    """Says which student."""
    fix: str
    """What to do where it holds something else."""
    option: str | None
    """What names another directory; None: nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What an evaluation, or an analysis, is of."""

    student: str
    """Where the student lies: a directory, or a hub id."""
    weights: str | None
    """A digest of the files in it; None: a hub id."""
    recipe: str
    """As the user named it."""
    recipe_yaml: str
    """The resolved recipe."""
    num_tasks: int | None = None
    """How many tasks it is on; None: that is not noted."""

    def differences(self, path: Path, kind: DirectoryKind) -> Iterator[str]:
        """What is other in the directory `path`. The student is known by its files, wherever they lie."""
        stored = read_evaluation(path / kind.file, fix=kind.fix)
        begun_with, there = stored.get("weights"), f"the {kind.name} in {path}"
        if self.weights is None or begun_with is None:
            if self.student != stored["student"]:
                yield f"student: {self.student}, but {there} is of {stored['student']}"
        elif self.weights != begun_with:
            was = "what lay there" if stored["student"] == self.student else stored["student"]
            yield f"student: {self.student}, but {there} is of {was}, whose files are others"
        begun, given = _stored_recipe(path / RECIPE, kind), yaml_value(self.recipe_yaml)
        for recipe in (begun, given):
            if isinstance(student := recipe.get("student"), dict):
                student.pop("model", None)
        for field, was, now in differences(without_cluster(begun), without_cluster(given)):
            yield f"{field}: {now!r}, but {there} was begun with {was!r}"


def _stored_recipe(path: Path, kind: DirectoryKind) -> dict[str, Any]:
    try:
        recipe = yaml_value(read_bounded(path, most=MOST_RECIPE_BYTES).decode())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {kind.fix}") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} holds no recipe: {kind.fix}")
    return recipe


class SubjectDirectory:
    """An open one. Made by `open`, never directly."""

    kind: ClassVar[DirectoryKind]

    def __init__(self, path: Path, *, lock: int, directory: int) -> None:
        self.path = path
        self._lock: int | None = lock
        self._directory = directory
        """It stays the one that was opened, whatever its path comes to mean."""

    @classmethod
    def open(
        cls, path: Path, evaluated: Evaluated, *, begun: datetime | None = None, run: Path | None = None
    ) -> Self:
        """Begin it in a directory that is new or empty, or go on with it. `begun`: the moment that its templates show
        as now; None: now. `run`: the one that it lies in, if any is known.

        Raises:
            UserError: see `has_begun`; or another process is writing it, or it cannot be made.
        """
        kind = cls.kind
        has_begun(path, evaluated, kind)
        try:
            directory = open_place(path, run=run)
            lock = locked(path, kind=kind.name, option=kind.option, descriptor=directory)
            if not has_begun(path, evaluated, kind):
                subject = {name: value for name, value in asdict(evaluated).items() if name != "num_tasks"}
                recipe_yaml = subject.pop("recipe_yaml")
                if evaluated.num_tasks is not None:
                    subject["num_tasks"] = evaluated.num_tasks
                write_versions(
                    path, recipe_yaml=recipe_yaml, begun=begun or datetime.now(), descriptor=directory
                )
                text = json_text(subject, indent=2) + "\n"
                write_atomically(path / kind.file, text, directory=directory)
                seal(path, recipe_yaml, descriptor=directory)
                write_atomically(path / RECIPE, recipe_yaml, directory=directory)
            return cls(path, lock=lock, directory=directory)
        except OSError as error:
            where = "" if error.filename in (None, str(path)) else f"{error.filename}: "
            raise UserError(f"{kind.name} directory {path}: {where}{error.strerror}: {kind.fix}") from error

    def changed_versions(self) -> Iterator[str]:
        """What differs between the versions that it was begun with and those now running."""
        return changed_versions(self.path, recipe=self.path / RECIPE)

    def is_made_here(self) -> bool:
        """This user began it on this machine, in this place."""
        return is_made_here(self.path / RECIPE)

    def check_log(self, log: TrajectoryLog, plans: Sequence[RolloutPlan]) -> None:
        """Raises UserError: a trajectory in `log` is of another task than its plan."""
        planned = {plan.trajectory_id: plan.task.id for plan in plans}
        for record in log.records(log.ids):
            if (task := planned.get(record["id"])) != (was := record.get("task_id")):
                raise UserError(
                    f"tasks: {record['id']} is now {task}, but the {self.kind.name} in {self.path} was begun where it "
                    f"was {was}: {self.kind.fix}"
                )

    def close(self) -> None:
        """Free the lock. Safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            os.close(self._directory)
            self._lock = None


def has_begun(path: Path, evaluated: Evaluated, kind: DirectoryKind) -> bool:
    """Is this there, to go on with? Else it can begin there.

    Raises:
        UserError: the directory holds something else, or that of another student or recipe.
    """
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if {RECIPE, kind.file} <= names:
        if others := list(evaluated.differences(path, kind)):
            more = f" (and {len(others) - 1} more differences)" if others[1:] else ""
            raise UserError(f"{others[0]}{more}: {kind.fix}")
        return True
    # One killed before its recipe was written has no more than this, and is begun anew.
    taken = sorted(
        name for name in names - {LOCK, SEAL, VERSIONS, kind.file} if not name.endswith(".partial")
    )
    if taken:
        raise UserError(f"{kind.name} directory {path} is not empty ({taken[0]} is in it): {kind.fix}")
    return False
