"""`turnmix tasks export`: the tasks of a recipe as Harbor task directories."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

from turnmix.assembly.source import make_source
from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.task import Task
from turnmix.environments.environment import TaskSource
from turnmix.environments.minirepo.source import MinirepoSource
from turnmix.environments.repositories.source import TaskFileSource
from turnmix.recipe.recipe import load_recipe
from turnmix.task_making.harbor.directory import ExportSettings, HarborDirectory
from turnmix.task_making.harbor.minirepo import minirepo_directory
from turnmix.task_making.harbor.repository import repository_directory
from turnmix.viewing.console import make_console


def export_tasks(options: argparse.Namespace) -> None:
    """Write them, and say how Harbor and TurnMix play them.

    Raises:
        UserError: no recipe; its tasks are of another kind; or a directory is there already.
    """
    names, overrides = names_and_overrides(options.words, at_most=1)
    if not names:
        raise UserError("name a recipe, such as recipes/minirepo_sft.yaml")
    if options.limit < 1:
        raise UserError(f"--limit {options.limit}: write 1 task or more")
    recipe = load_recipe(
        names[0], overrides, unused=("student", "teacher", "trackers", "sandbox", "tasks.dataset")
    )
    source = make_source(recipe)
    written = _writer(source, recipe.tasks.source)
    settings = ExportSettings(
        image=options.image,
        commands=tuple(options.command_lines or ()),
        agent_seconds=recipe.scaffold.wall_seconds,
        has_network=options.network,
    )
    output = Path(options.output)
    console = make_console()
    tasks = list(itertools.islice(source.tasks(options.split), options.limit))
    for task in tasks:
        directory = written(task).write(output, settings)
        console.print(printable_line(f"  {directory}"), soft_wrap=True)
    if not tasks:
        raise UserError(f"--split {options.split}: {names[0]} has no such task")
    console.print(printable_line(f"{len(tasks)} tasks in {output}"), style="bold")
    console.print(printable_line(f"Play them: harbor run -p {output} -a oracle"), soft_wrap=True)


def _writer(source: TaskSource, name: str) -> Callable[[Task], HarborDirectory]:
    if isinstance(source, MinirepoSource):
        return lambda task: minirepo_directory(source, task)
    if isinstance(source, TaskFileSource):
        return lambda task: repository_directory(source.row(task), source.archive(task))
    raise UserError(f"tasks.source: {name!r}: tasks of minirepo and of task files can be written out")
