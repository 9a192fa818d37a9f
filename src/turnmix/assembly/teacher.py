"""The teacher of a recipe.

In: a recipe, and who opens its tasks' expert. Out: a `Teacher`, which has loaded and asked nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from turnmix.assembly.model_location import model_location
from turnmix.core.errors import PluginError
from turnmix.core.plugins import is_plugin_name, telling_faults
from turnmix.policies.policy import Policy
from turnmix.policies.teacher import StudentTokens, Teacher, TeacherParts
from turnmix.recipe.recipe import Recipe
from turnmix.teachers.plugin_teacher import PluginTeacher, plugin_policy


def make_teacher(
    recipe: Recipe,
    *,
    expert: Callable[[], Policy | None] | None,
    acts: bool | None = None,
    moment: datetime | None = None,
) -> Teacher:
    """`expert` opens that of the recipe's tasks; None: the teacher will not act in this process. `acts`: will it be
    asked for actions; None: as the recipe says. `moment`: what its template shows as now.

    Raises:
        UserError: the recipe's tasks have no such teacher.
    """
    settings, tasks = recipe.teacher, recipe.tasks

    def told_expert() -> Policy | None:
        opened = None if expert is None else expert()
        if opened is None or not is_plugin_name(tasks.source):
            return opened
        return plugin_policy(opened, name=tasks.source)

    parts = TeacherParts(
        seed=recipe.seed,
        acts=expert is not None and (recipe.asks_teacher if acts is None else acts),
        source=tasks.source,
        expert=told_expert,
        locate=lambda name: model_location(name, field="teacher.model"),
        tool_calls=recipe.scaffold.tool_calls,
        max_tokens=recipe.conversation_limit,
        concurrency=recipe.rollouts.concurrency,
        tokens_per_pass=recipe.learner.tokens_per_pass,
        moment=moment,
    )
    if not is_plugin_name(settings.kind):
        return settings.make(parts)
    with telling_faults(settings.kind):
        teacher = settings.make(parts)
    if not isinstance(teacher, Teacher):
        raise PluginError(
            f"teacher.kind: {settings.kind!r}: its make() gives {teacher!r:.100}, not a turnmix.Teacher"
        )
    return PluginTeacher(teacher, settings)


def student_tokens(recipe: Recipe, tokenizer: object, *, max_context: int) -> StudentTokens:
    """Whose tokens the teacher scores. `max_context`: of the longest context that the student learns from."""
    return StudentTokens(
        tokenizer=tokenizer, max_context=max_context, longest=min(max_context, recipe.longest_context)
    )
