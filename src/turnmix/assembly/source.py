"""The tasks of a recipe.

In: settings. Out: a task source; nothing is started yet.
"""

from __future__ import annotations

from turnmix.core.errors import UserError
from turnmix.core.plugins import is_plugin_name, telling_faults
from turnmix.environments.environment import TaskParts, TaskSource
from turnmix.recipe.recipe import Recipe
from turnmix.scaffold.prompt import prompt_for


def make_source(recipe: Recipe) -> TaskSource:
    """The tasks of a recipe; nothing is started yet.

    Raises:
        UserError: a task file, or a prompt, is none; or a plugin's settings make no task source.
    """
    prompt_for(recipe.scaffold.prompt)
    tasks = recipe.tasks
    with telling_faults(tasks.source):
        source = tasks.make(
            TaskParts(make_sandbox=recipe.sandbox.make, scaffold=recipe.scaffold, seed=recipe.seed)
        )
        if is_plugin_name(tasks.source):
            for split in ("train", "holdout"):
                len(source.tasks(split))
    if lacking := [name for name in ("tasks", "environment") if not callable(getattr(source, name, None))]:
        raise UserError(
            f"tasks.source: {tasks.source!r}: what its make returned is no task source: it has no {lacking[0]}"
        )
    return source
