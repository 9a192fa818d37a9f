"""`turnmix tasks`: the tasks of a recipe, listed, or one of them as the agent gets it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.text import Text

from turnmix.assembly.source import make_source
from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import UserError
from turnmix.core.printable import printable, printable_line
from turnmix.core.task import Task
from turnmix.environments.environment import Split, TaskSource
from turnmix.recipe.recipe import load_recipe
from turnmix.viewing.console import make_console

SPLITS: tuple[Split, ...] = ("train", "holdout")


def show_tasks(words: Sequence[str], *, limit: int) -> None:
    """List the first `limit` tasks of each split, or print the one whose id is given.

    Raises:
        UserError: no recipe, or no such task.
    """
    names, overrides = names_and_overrides(words, at_most=2)
    if not names:
        raise UserError("name a recipe, such as recipes/minirepo_dagger.yaml")
    if limit < 1:
        raise UserError(f"--limit {limit}: list 1 task or more")
    unused = ("student", "teacher", "trackers", "sandbox", "tasks.dataset")  # no task is begun
    source = make_source(load_recipe(names[0], overrides, unused=unused))
    if len(names) == 2:
        _print_task(_find(source, names[1], recipe=names[0]))
        return
    console = make_console()
    for split in SPLITS:
        tasks = source.tasks(split)
        console.print(f"{split}: {len(tasks):,} tasks", style="bold")
        for task in itertools.islice(tasks, limit):
            first_line = task.problem_statement.strip().split("\n")[0]
            listed = Text(printable_line(f"  {task.id}  {first_line}"))
            console.print(listed, no_wrap=True, overflow="ellipsis")
        if len(tasks) > limit:
            console.print(f"  … {len(tasks) - limit:,} more: --limit {len(tasks)}")
    console.print(printable_line(f"Print one: turnmix tasks {names[0]} ID"))


def _find(source: TaskSource, task_id: str, *, recipe: str) -> Task:
    # The holdout first: it is short, and sources may make their tasks as they are asked for.
    for split in reversed(SPLITS):
        for task in source.tasks(split):
            if task.id == task_id:
                return task
    raise UserError(f"no task {task_id!r} in {recipe}: `turnmix tasks {recipe}` lists them")


def _print_task(task: Task) -> None:
    console = make_console()
    console.print(Text(printable_line(task.id), style="bold"))
    console.print(Text(printable(task.problem_statement.rstrip())), soft_wrap=True)
    if task.workspace is None:
        return
    for path, content in task.workspace.files.items():
        console.print()
        console.print(Text(printable_line(f"{task.workspace.working_directory}/{path}"), style="bold"))
        console.print(Text(printable(content.rstrip())), soft_wrap=True)
