"""What sessions of scaffolds that start themselves are made with.

In: a recipe with its source, student and teacher. Out: parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.plugins import is_plugin_name
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import TaskSource
from turnmix.gateway.external.parts import ExternalParts
from turnmix.gateway.scaffolds.settings import ExternalSettings
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.methods.registry import label_gate
from turnmix.policies.policy import Policy
from turnmix.policies.server.settings import GIVES_TOKENS
from turnmix.recipe.recipe import Recipe
from turnmix.recipe.recipe_file import validated
from turnmix.rollout.mixture import Mixture, make_mixture
from turnmix.store.run_directory import SESSIONS, RunDirectory


def external_parts(
    recipe: Recipe,
    *,
    source: TaskSource,
    student: Policy,
    teacher: Policy | None,
    count: TokenCounter,
    run: RunDirectory,
) -> ExternalParts:
    """`teacher`: None where the recipe asks none. `run`: where the sessions' journals lie."""

    def finished(trajectory_id: str) -> Trajectory | None:
        held = [trajectory_id] if trajectory_id in run.trajectories else []
        return next(run.trajectories.read(held), None)

    scaffold = recipe.rollouts.scaffold or ExternalSettings()
    is_judged = recipe.tasks.needs_sandbox and scaffold.verdict == "verifier"
    server = recipe.student.server
    return ExternalParts(
        student=student,
        teacher=teacher,
        mixture=make_mixture(recipe.mixture),
        own_mixture=_own_mixture(recipe, has_teacher=teacher is not None),
        label=label_gate(recipe.method),
        count=count,
        settings=recipe.rollouts.gateway,
        max_turns=recipe.scaffold.max_turns,
        max_tokens=recipe.scaffold.max_tokens,
        label_seconds=scaffold.label_seconds,
        environment=source.environment if is_judged else None,
        most_open=recipe.rollouts.concurrency if is_judged else None,
        journals=run.path / SESSIONS,
        finished=finished,
        gives_logprobs=not recipe.mixture.asks_teacher and (server is None or GIVES_TOKENS[server.engine]),
    )


def _own_mixture(recipe: Recipe, *, has_teacher: bool) -> Callable[[Mapping[str, Any]], Mixture]:
    """A mixture that a request asks for: held to what the run's method allows, and never code of anybody's."""

    def own(given: Mapping[str, Any]) -> Mixture:
        usual = recipe.mixture.model_dump(mode="json")
        kind = given.get("kind", usual["kind"])
        if is_plugin_name(kind) and kind != usual["kind"]:
            raise UserError(f"mixture.kind: {kind!r:.80}: a request names no code: name it in the recipe")
        below = usual if kind == usual["kind"] else {}
        data = recipe.model_dump(mode="json") | {"mixture": {**below, **given, "kind": kind}}
        asked = validated(Recipe, data, source="the request").mixture
        if asked.asks_teacher and not has_teacher:
            raise UserError(f"mixture.kind: {kind!r:.80}: a teacher may act, and this recipe asks none")
        return make_mixture(asked)

    return own
