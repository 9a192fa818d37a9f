"""Does a recipe fit to a scaffold of the user's own? In: its sections. Out: an error, or what has no effect."""

from __future__ import annotations

from collections.abc import Iterator

from turnmix.environments.environment import TaskSettings
from turnmix.gateway.scaffolds.settings import FIELD, CommandSettings, ExternalSettings
from turnmix.recipe.sections import EvaluationSettings, RolloutSettings
from turnmix.sandboxes.settings import SandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

_BOUNDS_OF_ALL = ("max_turns", "max_tokens")
"""What of the section `scaffold` holds for a scaffold of the user's own too."""
_WITHOUT_ISOLATION = "none"
"""The kind of sandbox that is none: inside it is on this machine."""


def check_foreign_scaffold(
    rollouts: RolloutSettings,
    evaluation: EvaluationSettings,
    *,
    scaffold: ScaffoldSettings,
    tasks: TaskSettings,
    sandbox: SandboxSettings,
) -> None:
    """A scaffold of the user's own can work on these tasks, and nothing is asked of it that it has no part in. Raises
    ValueError."""
    chosen, accidents = rollouts.scaffold, rollouts.accidents
    if chosen is None:
        return
    if accidents.kind != "none":
        raise ValueError(
            f"rollouts.accidents.kind: {accidents.kind!r}: no accident happens to a scaffold of your own: leave it "
            f"out, or leave out {FIELD}"
        )
    if scaffold.tool_calls == "text":
        raise ValueError(
            f"scaffold.tool_calls: 'text': a scaffold of your own offers its tools in its requests: leave it at "
            f"native, or leave out {FIELD}"
        )
    if isinstance(chosen, ExternalSettings) and evaluation.tasks:
        raise ValueError(
            f"evaluation.tasks: {evaluation.tasks}: an evaluation cannot wait for scaffolds that start themselves, as "
            f"{FIELD}.kind: 'external' says: set it to 0, and evaluate what was trained with {FIELD}.kind: 'command'"
        )
    if tasks.needs_sandbox:
        may_be_inside = isinstance(chosen, CommandSettings) and chosen.where != "outside"
        if may_be_inside and sandbox.kind == _WITHOUT_ISOLATION:
            raise ValueError(
                f"{FIELD}.where: inside a sandbox of the kind {sandbox.kind} a scaffold cannot reach the model: set it "
                "to outside"
            )
        return
    if chosen.verdict == "verifier":
        raise ValueError(
            f"{FIELD}.verdict: 'verifier': these tasks have no sandbox, of which a verifier could tell what a scaffold "
            "did: set it to report"
        )
    if isinstance(chosen, CommandSettings) and chosen.where == "sandbox":
        raise ValueError(f"{FIELD}.where: 'sandbox': these tasks have no sandbox: set it to outside")


def without_effect(rollouts: RolloutSettings, scaffold: ScaffoldSettings) -> Iterator[str]:
    """A line, where settings of the section `scaffold` were given that a scaffold of the user's own does not heed."""
    if rollouts.scaffold is None:
        return
    usual = ScaffoldSettings()
    idle = [
        f"scaffold.{name}"
        for name in ScaffoldSettings.model_fields
        if name not in _BOUNDS_OF_ALL and getattr(scaffold, name) != getattr(usual, name)
    ]
    if idle:
        *others, last = idle
        names, verb = (f"{', '.join(others)} and {last}", "have") if others else (last, "has")
        yield f"{FIELD}: {names} {verb} no effect: a scaffold of your own has its own tools, prompts and limits"
