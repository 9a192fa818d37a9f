"""The tasks of a task file, each in a sandbox of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from turnmix.core.errors import UserError
from turnmix.core.task import Solution, Task
from turnmix.environments.environment import Split
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.environments.swe.archive import load_archive
from turnmix.environments.swe.grading import Grader
from turnmix.environments.swe.laying import lay_repository
from turnmix.environments.swe.solution import solve
from turnmix.environments.swe.task_file import TaskRow, load_rows, split_rows
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.settings import Settings


class TaskFileSettings(Settings):
    """Tasks from a file that `turnmix tasks make` or `turnmix tasks prepare` wrote."""

    path: Path
    """The task file. Archives lie beside it."""
    holdout: int = Field(default=100, ge=0)
    """So many tasks, drawn by `seed`, are for evaluation alone."""
    seed: int = Field(default=0, ge=0)
    """Other seeds hold out other tasks."""


class TaskFileSource:
    """Every task of a file is in one split."""

    name = "file"

    def __init__(
        self,
        settings: TaskFileSettings,
        *,
        make_sandbox: Callable[[TaskRow], Sandbox],
        scaffold: ScaffoldSettings,
    ) -> None:
        """Raises UserError: the file holds a row that is no task, or too few."""
        self._path = settings.path.expanduser()
        rows = load_rows(self._path)
        if settings.holdout >= len(rows):
            raise UserError(
                f"tasks.holdout = {settings.holdout}: {self._path} holds {len(rows)} tasks, so none is left to "
                "train on: hold out fewer"
            )
        self._splits = split_rows(rows, holdout=settings.holdout, seed=settings.seed)
        self._rows = {row.instance_id: row for row in rows}
        self._make_sandbox = make_sandbox
        self._scaffold = scaffold
        self._archive = lru_cache(maxsize=64)(lambda name: load_archive(self._path, name))
        self._solution = lru_cache(maxsize=256)(self._solve)
        self.grader = Grader(
            row=self._rows.__getitem__, archive=self._content, make_sandbox=self._make_sandbox
        )

    def tasks(self, split: Split) -> Sequence[Task]:
        return [
            Task(
                id=row.instance_id,
                problem_statement=row.problem_statement,
                working_directory=row.working_directory,
                files={},
            )
            for row in self._splits[split]
        ]

    def environment(self, task: Task) -> ScaffoldedEnvironment:
        row = self._rows[task.id]

        async def prepare(_: Task, sandbox: Sandbox) -> None:
            await lay_repository(row, self._content(row), sandbox)

        return ScaffoldedEnvironment(
            task=task,
            sandbox=self._make_sandbox(row),
            settings=self._scaffold,
            verifier=self.grader,
            prepare=prepare,
        )

    def row(self, task: Task) -> TaskRow:
        """Everything about a task, for the grader and tools alone."""
        return self._rows[task.id]

    def solution(self, task: Task) -> Solution:
        """For the verifier and the oracle alone."""
        return self._solution(task.id)

    def _solve(self, task_id: str) -> Solution:
        row = self._rows[task_id]
        return solve(row, self._content(row))

    def _content(self, row: TaskRow) -> bytes:
        return self._archive(row.archive or "")
