"""Tasks of the user's own, of whose world TurnMix knows nothing: a scaffold of the user's own works on them, and says
how well.

In: a file of JSON lines, each an object with an `id` and whatever the scaffold needs. Out: a task source without
environments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from turnmix.core.bounded_file import MEBIBYTE, bounded_lines
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_value
from turnmix.core.task import Task
from turnmix.environments.environment import Environment, Split, TaskParts, TaskSettings
from turnmix.environments.held_out import held_out

LONGEST_ROW = 16 * MEBIBYTE
_PROMPTS = ("prompt", "problem_statement")
"""Keys of which the first that a row has says what the agent is to do, where a row says it."""


class ForeignTaskSettings(TaskSettings):
    """Tasks of your own, which a scaffold of your own works on and judges."""

    has_world: ClassVar[bool] = False

    source: Literal["foreign"] = "foreign"
    path: Path
    """A file of JSON lines, a task each: an `id`, and what your scaffold needs, such as a `prompt`. All of it is given
    to your scaffold as it stands."""
    holdout: int = Field(default=0, ge=0)
    """So many tasks, drawn by `seed`, are for evaluation alone."""
    seed: int = Field(default=0, ge=0)
    """Other seeds hold out other tasks."""

    def make(self, parts: TaskParts) -> ForeignTasks:
        return ForeignTasks(self)


class ForeignTasks:
    """Every task of a file is in one split."""

    def __init__(self, settings: ForeignTaskSettings) -> None:
        """Raises UserError: the file holds a row that is no task, or too few."""
        self._path = settings.path.expanduser()
        tasks = list(_read_tasks(self._path))
        if settings.holdout >= len(tasks):
            raise UserError(
                f"tasks.holdout = {settings.holdout}: {self._path} holds {len(tasks)} tasks, and one or more must "
                "be left to train on: lower it"
            )
        chosen = held_out([task.id for task in tasks], number=settings.holdout, seed=settings.seed)
        self._tasks: dict[Split, list[Task]] = {
            "train": [task for task in tasks if task.id not in chosen],
            "holdout": [task for task in tasks if task.id in chosen],
        }

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks[split]

    def environment(self, task: Task) -> Environment:
        """Raises UserError: there is none."""
        raise UserError(
            f"tasks.source: 'foreign': TurnMix has no world for {task.id}: a scaffold of your own works on it: name it "
            "in rollouts.scaffold, or have it ask `turnmix gateway`"
        )


def _read_tasks(path: Path) -> Iterator[Task]:
    seen: dict[str, int] = {}
    try:
        for number, line in enumerate(bounded_lines(path, longest=LONGEST_ROW), start=1):
            if not line.strip():
                continue
            task = _task(line, f"tasks.path: {path}, line {number}")
            if (before := seen.setdefault(task.id, number)) != number:
                raise UserError(
                    f"tasks.path: {path}, line {number}: the id {task.id!r:.200} is that of line {before}: give each "
                    "task its own"
                )
            yield task
    except FileNotFoundError:
        raise UserError(f"tasks.path: {path} is not there: name a file of JSON lines, a task each") from None
    except OSError as error:
        raise UserError(f"tasks.path: {path}: {error.strerror}: name a file of JSON lines") from None


def _task(line: bytes, where: str) -> Task:
    try:
        row = json_value(line)
    except ValueError as error:
        raise UserError(f"{where}: it is no JSON ({error}): write one JSON object a line") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: it is a {type(row).__name__}: write one JSON object a line")
    name: Any = row.get("id")
    if not (isinstance(name, str) and name):
        told = "there is none" if name is None else f"it is {name!r:.100}"
        raise UserError(f"{where}: id: {told}: give each task a text that is its own")
    prompt = next((row[key] for key in _PROMPTS if key in row), "")
    if not isinstance(prompt, str):
        raise UserError(f"{where}: prompt: it is a {type(prompt).__name__}: give a text, or leave it out")
    return Task(id=name, problem_statement=prompt, fields=row)
