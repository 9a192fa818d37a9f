"""The tasks of a task file, each in a sandbox of its own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field

from turnmix.core.bounded_cache import BoundedCache
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.task import Task, Workspace
from turnmix.environments.environment import Split, TaskParts, TaskSettings
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.patch_paths import patch_paths
from turnmix.environments.repositories.adapters.registry import DatasetSettings
from turnmix.environments.repositories.archive.files import load_archive
from turnmix.environments.repositories.archive.repository import ArchiveRepository
from turnmix.environments.repositories.grading import Grader
from turnmix.environments.repositories.image.activation import ActivatedSandbox
from turnmix.environments.repositories.image.repository import ImageRepository
from turnmix.environments.repositories.repository import Repository
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.solution import solve
from turnmix.environments.repositories.task_file import TaskRow, load_rows, read_rows, split_rows
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.environments.solution_outline import SolutionOutline
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.scaffold import ScaffoldSettings

MOST_KEPT = 512 << 20
"""Bytes of archives, and of solutions, that are kept for the next trajectory."""
READ_FIRST = 256 << 20
"""Bytes of archives that are read at the start."""


class TaskFileSettings(TaskSettings):
    """Real repositories, from a task file."""

    needs_sandbox: ClassVar[bool] = True

    source: Literal["file"] = "file"
    path: Path
    """The task file. Archives lie beside it."""
    dataset: DatasetSettings | None = None
    """The published set of which `turnmix tasks prepare` writes the task file."""
    holdout: Annotated[int, Field(ge=1)] | Literal["all"] = 100
    """So many tasks, drawn by `seed`, are for evaluation alone; all: nothing is trained on them."""
    seed: int = Field(default=0, ge=0)
    """Other seeds hold out other tasks."""

    @property
    def is_for_evaluation(self) -> bool:
        return self.holdout == "all"

    def make(self, parts: TaskParts) -> TaskFileSource:
        return TaskFileSource(
            self, make_sandbox=partial(make_row_sandbox, parts.make_sandbox), scaffold=parts.scaffold
        )

    def check(self) -> Iterable[Finding]:
        if not self.path.expanduser().is_file():
            remedy = "make it with: turnmix tasks make --help"
            if self.dataset is not None:
                remedy = f"write it from {self.dataset.rows} with: turnmix tasks prepare RECIPE"
            yield Finding(
                subject="file", passed=False, detail=f"tasks.path: {self.path} is not there; {remedy}"
            )

    def container_images(self) -> Iterable[str]:
        path = self.path.expanduser()
        rows = read_rows(path)[0] if path.is_file() else []
        return [row.image for row in rows if row.image is not None]


def preparation(tasks: TaskSettings) -> tuple[Path, DatasetSettings] | None:
    """The task file that `turnmix tasks prepare` writes, and of which published set; None: these are no such tasks."""
    if isinstance(tasks, TaskFileSettings) and tasks.dataset is not None:
        return tasks.path.expanduser(), tasks.dataset
    return None


@runtime_checkable
class GradesPatches(Protocol):
    """A task source whose trajectories are patches, which can be graded without their agent."""

    grader: Grader

    @property
    def rows(self) -> Sequence[TaskRow]:
        """All tasks, for the grader and tools alone."""
        ...


class TaskFileSource:
    """Every task of a file is in one split."""

    def __init__(
        self,
        settings: TaskFileSettings,
        *,
        make_sandbox: Callable[[TaskRow], Sandbox],
        scaffold: ScaffoldSettings,
    ) -> None:
        """Raises UserError: the file holds a row that is no task, or too few, or an archive that is none."""
        self._path = settings.path.expanduser()
        rows = load_rows(self._path)
        holdout = len(rows) if settings.holdout == "all" else settings.holdout
        if settings.holdout != "all" and holdout >= len(rows):
            fix = (
                f"set it to less than {len(rows)}, such as {-(-len(rows) // 5)}"
                if len(rows) > 1
                else "make more"
            )
            raise UserError(
                f"tasks.holdout = {settings.holdout}: {self._path} holds {len(rows)} tasks, so none is left to "
                f"train on: {fix}"
            )
        self._splits = split_rows(rows, holdout=holdout, seed=settings.seed)
        self._rows = {row.instance_id: row for row in rows}
        self._make_sandbox = make_sandbox
        self._scaffold = scaffold
        self._archives = BoundedCache[bytes](max_bytes=MOST_KEPT)
        self._solutions = BoundedCache[Solution](max_bytes=MOST_KEPT)
        self._loading = threading.Lock()
        self._solving: dict[str, threading.Lock] = {}
        self._repositories: dict[str, Repository] = {}
        self.grader = Grader(row=self._rows.__getitem__, repository=self._repository)
        self._read_first_archives(rows)

    def tasks(self, split: Split) -> Sequence[Task]:
        return [
            Task(
                id=row.instance_id,
                problem_statement=row.problem_statement,
                workspace=Workspace(working_directory=row.working_directory),
            )
            for row in self._splits[split]
        ]

    def environment(self, task: Task) -> ScaffoldedEnvironment:
        row = self._rows[task.id]
        repository = self._repository(row)
        repository.check()
        sandbox = self._make_sandbox(row)
        if row.activation:
            sandbox = ActivatedSandbox(sandbox, activation=row.activation)
        return ScaffoldedEnvironment(
            task=task,
            sandbox=sandbox,
            settings=self._scaffold,
            verifier=self.grader,
            prepare=lambda task, sandbox: repository.prepare(sandbox),
        )

    @property
    def rows(self) -> Sequence[TaskRow]:
        """All tasks of the file, for the grader and tools alone."""
        return list(self._rows.values())

    def row(self, task: Task) -> TaskRow:
        """Everything about a task, for the grader and tools alone."""
        return self._rows[task.id]

    def archive(self, task: Task) -> bytes:
        """The tree of a task, as a tar archive; empty where its image holds it. For the grader and tools alone."""
        row = self._rows[task.id]
        return self._content(row) if row.archive else b""

    def expert(self) -> OraclePolicy:
        """Knows every task's solution."""
        return OraclePolicy(self.solution)

    def solution(self, task: Task) -> Solution:
        """For the verifier and the oracle alone. Not to be called in an event loop's thread: this blocks until a
        sandbox has told.

        Raises:
            SandboxError: it did not.
            UserError: the archive is gone, or the gold patch does not fit.
        """
        with self._solving.setdefault(task.id, threading.Lock()):
            if (found := self._solutions.get(task.id)) is None:
                row = self._rows[task.id]
                found = solve(row, self._repository(row), self._make_sandbox(row))
                self._solutions.put(task.id, found, size=_size(found))
            return found

    def solution_outline(self, task: Task) -> SolutionOutline:
        row = self._rows[task.id]
        return SolutionOutline(paths=patch_paths(row.gold_patch), passing_before=len(row.pass_to_pass))

    def _repository(self, row: TaskRow) -> Repository:
        if (found := self._repositories.get(row.instance_id)) is None:
            if row.image:
                found = ImageRepository(row, make_sandbox=self._make_sandbox)
            else:
                found = ArchiveRepository(
                    row,
                    archive=lambda: asyncio.to_thread(self._content, row),
                    make_sandbox=self._make_sandbox,
                )
            self._repositories[row.instance_id] = found
        return found

    def _read_first_archives(self, rows: Sequence[TaskRow]) -> None:
        """A damaged archive is told before anything long begins; of very many, those that are read quickly."""
        unread = READ_FIRST
        for row in {row.archive: row for row in rows if row.archive}.values():
            if unread > 0:
                unread -= len(self._content(row))

    def _content(self, row: TaskRow) -> bytes:
        """Of the archive of a row that has one."""
        name = str(row.archive)
        with self._loading:
            if (found := self._archives.get(name)) is None:
                found = load_archive(self._path, name)
                self._archives.put(name, found, size=len(found))
            return found


def _size(solution: Solution) -> int:
    """Bytes that a solution takes, roughly."""
    return sum(map(sys.getsizeof, (*solution.base.values(), *solution.files.values(), *solution.present)))
