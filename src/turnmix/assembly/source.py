"""The tasks of a recipe.

In: settings. Out: a task source; nothing is started yet.
"""

from __future__ import annotations

from turnmix.core.doors import check_settings
from turnmix.core.errors import UserError
from turnmix.core.plugins import is_plugin_name, telling_faults
from turnmix.environments.environment import Split, TaskParts, TaskSource, accident_of
from turnmix.environments.plugin_source import PluginSource
from turnmix.recipe.recipe import Recipe
from turnmix.sandboxes.plugin_sandbox import PluginSandbox
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.settings import NO_NEEDS, MakeSandbox, SandboxNeeds
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
            TaskParts(make_sandbox=_making(recipe), scaffold=recipe.scaffold, seed=recipe.seed)
        )
    if not is_plugin_name(tasks.source):
        return source
    if lacking := [name for name in ("tasks", "environment") if not callable(getattr(source, name, None))]:
        raise UserError(
            f"tasks.source: {tasks.source!r}: what its make returned is no task source: it has no {lacking[0]}"
        )
    return PluginSource(source, name=tasks.source)


def check_accidents(recipe: Recipe, source: TaskSource) -> None:
    """Raise UserError: accidents are asked for, and the tasks have none of that kind."""
    if (kind := recipe.rollouts.accidents.kind) != "none":
        accident_of(source, kind, field="rollouts.accidents.kind")


def check_split(recipe: Recipe, source: TaskSource, split: Split) -> None:
    """Raise UserError: a split that will be asked for has no task."""
    if not len(source.tasks(split)):
        purpose = "train" if split == "train" else "evaluate"
        raise UserError(f"tasks.source: {recipe.tasks.source!r}: it has no {split} task to {purpose} on")


def _making(recipe: Recipe) -> MakeSandbox:
    """Makes the recipe's sandboxes. What was not checked before a run, because the tasks said that they need none, is
    checked at the first."""
    settings, is_checked = recipe.sandbox, recipe.tasks.needs_sandbox
    if not is_plugin_name(settings.kind) and is_checked:
        return settings.make

    def make(needs: SandboxNeeds = NO_NEEDS) -> Sandbox:
        nonlocal is_checked
        if not is_checked:
            check_settings(settings)
            is_checked = True
        with telling_faults(settings.kind):
            sandbox = settings.make(needs)
        return PluginSandbox(sandbox, name=settings.kind) if is_plugin_name(settings.kind) else sandbox

    return make
