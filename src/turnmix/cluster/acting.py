"""A student that acts on workers, which need see no directory of the driver's: its weights go through Ray's store.

In: where its checkpoint lies. Out: at the driver a `WorkersPolicy`, which says who is to act, and on a worker a policy
that does, with the same numbers as in the driver's process.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.assembly.student import ActingStudent, load_acting_student, load_student_of_run, student_location
from turnmix.core.errors import UserError
from turnmix.loop.parts import Student
from turnmix.policies.policy import Episode, Policy, PolicySession
from turnmix.recipe.recipe import Recipe
from turnmix.training.checkpoint_files import LEARNER_FILE

if TYPE_CHECKING:
    from turnmix.assembly.token_counter import StudentTokenCounter

_BASE, _CHECKPOINT = "base", "checkpoint"
MOST_HELD = 2
"""Students in a worker's memory: the one of now, and the base student where it is evaluated beside."""


def acts_on_workers(recipe: Recipe) -> bool:
    """Does the student act in the processes of workers, rather than through a server?"""
    return recipe.cluster is not None and recipe.student.server is None


def is_served_here(recipe: Recipe) -> bool:
    """Does a command that evaluates a student start a server for it, which no worker can ask?"""
    return recipe.student.server is not None and recipe.student.server.endpoint is None


@dataclass(slots=True, kw_only=True)
class WorkersPolicy:
    """Who acts, said in the driver's process, where it cannot: workers open it."""

    checkpoint: Path | None
    """Where it stands; None: at the base model."""
    greedy: bool
    is_of_run: bool = True
    """As it acts in a run, with the numbers with which it learns; else as `turnmix evaluate` loads it."""
    name: str = "student"

    @classmethod
    def of_model(cls, location: str) -> WorkersPolicy:
        """A model that is evaluated, greedily: a directory, or a hub id, which each worker loads itself."""
        checkpoint = Path(location) if Path(location).is_dir() else None
        return cls(checkpoint=checkpoint, greedy=True, is_of_run=False)

    def begin(self, episode: Episode) -> PolicySession:
        raise AssertionError(f"{episode.trajectory_id} is to be rolled out by a worker")

    async def close(self) -> None:
        """Nothing is open here."""


class StudentOnWorkers:
    """A student that learns as before, and acts on workers with the weights that were last saved."""

    acts_twice = True
    has_room_beside_learning = True

    def __init__(self, student: Student, *, checkpoint: Path | None) -> None:
        """`checkpoint`: where it stands; None: at the base model."""
        self._student = student
        self._checkpoint = checkpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._student, name)

    def policy(self, *, greedy: bool) -> Policy:
        return WorkersPolicy(checkpoint=self._checkpoint, greedy=greedy)

    def base_policy(self) -> Policy:
        return WorkersPolicy(checkpoint=None, greedy=True)

    def save(self, checkpoint: Path) -> None:
        self._student.save(checkpoint)
        self._checkpoint = checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class SentStudent:
    """Who acts, as a worker is told."""

    version: str
    greedy: bool
    is_of_run: bool
    directories: Mapping[str, Any]
    """What lies where: references to files in Ray's store, by name; a base model that is no directory is not sent."""


class WeightStore:
    """The driver's: files of the versions in use are in Ray's store, each once."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._sent: dict[Path, Any] = {}

    def sent(self, policy: WorkersPolicy) -> SentStudent:
        """Called in one thread at a time."""
        base, is_adapted = Path(student_location(self._recipe.student)), self._recipe.learner.lora is not None
        wanted: dict[str, Path] = {}
        if policy.checkpoint is not None:
            wanted[_CHECKPOINT] = policy.checkpoint.absolute()
        needs_base = policy.checkpoint is None or (is_adapted and policy.is_of_run)
        if needs_base and base.is_dir():
            wanted[_BASE] = base.absolute()
        directories = {name: self._reference(path) for name, path in wanted.items()}
        for path in [*self._sent][: -MOST_HELD - 1]:  # the oldest: what is under way holds its own references
            del self._sent[path]
        return SentStudent(
            version=f"{policy.checkpoint or base} {policy.is_of_run}",
            greedy=policy.greedy,
            is_of_run=policy.is_of_run,
            directories=directories,
        )

    def _reference(self, path: Path) -> Any:
        import ray

        self._sent[path] = self._sent.pop(path, None) or ray.put(_files(path))
        return self._sent[path]


@dataclass(slots=True)
class _Held:
    student: ActingStudent
    policies: dict[bool, Policy] = field(default_factory=dict)


class WorkerStudents:
    """A worker's: the students of the last versions that it was asked for."""

    def __init__(self, recipe: Recipe, moment: datetime | None) -> None:
        self._recipe = recipe
        self._moment = moment
        self._loading = asyncio.Lock()
        self._held: dict[str, _Held] = {}

    async def policy(self, sent: SentStudent) -> tuple[Policy, StudentTokenCounter]:
        """Who acts, and what counts in its tokens; it stays open. Raises UserError: it cannot be loaded."""
        async with self._loading:
            held = self._held.pop(sent.version, None)
            if held is None:
                files = {name: await reference for name, reference in sent.directories.items()}
                held = _Held(await asyncio.to_thread(self._loaded, sent, files))
            # Those that are let go live on as long as a cohort acts with them.
            self._held = {**dict([*self._held.items()][-(MOST_HELD - 1) :]), sent.version: held}
        if sent.greedy not in held.policies:
            held.policies[sent.greedy] = held.student.policy(greedy=sent.greedy)
        return held.policies[sent.greedy], held.student.token_counter

    def _loaded(self, sent: SentStudent, files: Mapping[str, Any]) -> ActingStudent:
        with tempfile.TemporaryDirectory(prefix="turnmix-weights-") as folder:
            directories = {name: _written(Path(folder) / name, each) for name, each in files.items()}
            base, checkpoint = directories.get(_BASE), directories.get(_CHECKPOINT)
            if not sent.is_of_run:
                location = str(checkpoint or base or student_location(self._recipe.student))
                return load_acting_student(self._recipe, location=location, moment=self._moment)
            return load_student_of_run(self._recipe, base=base, checkpoint=checkpoint, moment=self._moment)


def _files(directory: Path) -> dict[str, Any]:
    """The files of a checkpoint, but for what only its learner needs."""
    import numpy

    try:
        paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != LEARNER_FILE)
        return {str(path.relative_to(directory)): numpy.fromfile(path, dtype=numpy.uint8) for path in paths}
    except OSError as error:
        raise UserError(f"{directory}: cannot be read ({error})") from error


def _written(directory: Path, files: Mapping[str, Any]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content.tofile(path)
    return directory
