"""The tasks of a recipe.

In: settings. Out: a task source; nothing is started yet.
"""

from __future__ import annotations

from functools import partial

from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.recipe.recipe import Recipe
from turnmix.sandboxes.selection import make_sandbox
from turnmix.scaffold.prompt import prompt_for


def make_source(recipe: Recipe) -> MinirepoSource | TaskFileSource:
    """The tasks of a recipe; nothing is started yet. Raises UserError for a task file, or a prompt, that is none."""
    prompt_for(recipe.scaffold.prompt)
    if isinstance(recipe.tasks, TaskFileSettings):
        return TaskFileSource(
            recipe.tasks, make_sandbox=partial(make_row_sandbox, recipe.sandbox), scaffold=recipe.scaffold
        )
    settings = MinirepoSettings.model_validate(recipe.tasks.model_dump(exclude={"source"}))
    return MinirepoSource(
        settings, make_sandbox=partial(make_sandbox, recipe.sandbox), scaffold=recipe.scaffold
    )
