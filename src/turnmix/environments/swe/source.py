"""The tasks of a task file, each in a sandbox of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from turnmix.core.errors import UserError
from turnmix.core.task import Solution, Task
from turnmix.environments.environment import Split
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.environments.swe.activated import ActivatedSandbox
from turnmix.environments.swe.adapters.registry import DatasetSettings
from turnmix.environments.swe.archive import load_archive
from turnmix.environments.swe.grading import Grader
from turnmix.environments.swe.image_tree import read_image_tree
from turnmix.environments.swe.solution import solve
from turnmix.environments.swe.task_file import TaskRow, load_rows, split_rows
from turnmix.environments.swe.test_log import check_swebench
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.settings import Settings


class TaskFileSettings(Settings):
    """Tasks from a file that `turnmix tasks make` or `turnmix tasks prepare` wrote."""

    path: Path
    """The task file. Archives lie beside it."""
    dataset: DatasetSettings | None = None
    """The published set of which `turnmix tasks prepare` writes the task file."""
    holdout: Annotated[int, Field(ge=1)] | Literal["all"] = 100
    """So many tasks, drawn by `seed`, are for evaluation alone; all: nothing is trained on them."""
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
        self._archive = lru_cache(maxsize=64)(lambda name: load_archive(self._path, name))
        self._solution = lru_cache(maxsize=256)(self._solve)
        self._solving: dict[str, threading.Lock] = {}
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
        if row.image is not None:
            check_swebench(row)
        sandbox = self._make_sandbox(row)
        if row.activation:
            sandbox = ActivatedSandbox(sandbox, activation=row.activation)
        return ScaffoldedEnvironment(
            task=task,
            sandbox=sandbox,
            settings=self._scaffold,
            verifier=self.grader,
            prepare=self.grader.prepare,
        )

    @property
    def rows(self) -> Sequence[TaskRow]:
        """All tasks of the file, for the grader and tools alone."""
        return list(self._rows.values())

    def row(self, task: Task) -> TaskRow:
        """Everything about a task, for the grader and tools alone."""
        return self._rows[task.id]

    def solution(self, task: Task) -> Solution:
        """For the verifier and the oracle alone. Not to be called in an event loop's thread: where the task has
        an image, this blocks until a container has told.

        Raises:
            SandboxError: it did not.
            UserError: the archive is gone, or the gold patch does not fit.
        """
        with self._solving.setdefault(task.id, threading.Lock()):
            return self._solution(task.id)

    def _solve(self, task_id: str) -> Solution:
        row = self._rows[task_id]
        if row.image is None:
            return solve(row, self._content(row))
        tree = read_image_tree(row, self._make_sandbox)
        return replace(solve(row, tree.archive), present=tree.paths)

    def _content(self, row: TaskRow) -> bytes:
        return self._archive(row.archive or "")
