"""What a recipe leaves out, and its method, its data or its student bring.

In: a recipe's mapping, not yet validated. Out: the same with these laid under it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationInfo

from turnmix.core.doors import may_import
from turnmix.core.plugins import is_plugin_name, meant_plugin
from turnmix.methods.registry import METHODS, find_method
from turnmix.recipe.mistakes import shown
from turnmix.recipe.setting_search import meant_value
from turnmix.rollout.mixture import MixtureSettings
from turnmix.training.objective_settings import ObjectiveSettings


def with_defaults(
    given: Mapping[str, Any], *, known: Collection[str], info: ValidationInfo
) -> dict[str, Any]:
    """`given` with what its method brings, as far as that may be imported. `known`: the keys of a recipe.

    Raises:
        ValueError: there is no such method, or what is to be evaluated contradicts the data.
    """
    data = dict(given)
    student, evaluation = data.get("student"), data.get("evaluation")
    is_served = isinstance(student, dict) and student.get("server") is not None
    if is_served and isinstance(evaluation, dict) and evaluation.get("base") == "late":
        data["evaluation"] = {**evaluation, "base": True}
    _fill_in_imported(data)
    name = data.get("method")
    if name not in list(METHODS) and not is_plugin_name(name):
        foreign = [shown(key) for key in data if key not in known]
        told = (
            f"; no recipe has {', '.join(foreign)}: see `turnmix train minirepo_dagger --explain`"
            if foreign
            else ""
        )
        raise ValueError(_wrong_method(name) + told)
    # What is only read says itself what its method brings; where it does not, anything may stand there.
    method = find_method(str(name)) if may_import(name, info) else METHODS["dagger"]
    # What learns from how likely its own tokens were is sampled from the distribution that learns.
    is_sampled = method.objective.learns_from_samples
    for section, defaults in (
        ("student", {"temperature": 1.0, "top_p": 1.0} if is_sampled else {}),
        ("data", {"filter": method.filter}),
        ("rollouts", {"samples_per_task": method.samples_per_task}),
    ):
        if isinstance(value := data.get(section) or {}, dict):
            data[section] = {**defaults, **value}
    data["mixture"] = _laid_under(data.get("mixture"), method.mixture)
    data["objective"] = _laid_under(data.get("objective"), method.objective)
    return data


def _fill_in_imported(data: dict[str, Any]) -> None:
    """Lay under a recipe of trajectories from elsewhere that all are kept, and that nothing is evaluated."""
    section, evaluation = data.get("data"), data.get("evaluation")
    if not isinstance(section, dict) or section.get("messages") is None:
        return
    data["data"] = {"filter": "all", **section}
    if "tasks" in data or not isinstance(evaluation or {}, dict):
        return
    if (asked := (evaluation or {}).get("tasks")) not in (None, 0):
        raise ValueError(
            f"evaluation.tasks: {asked!r}: data.messages names no tasks to evaluate on: name some too, such as "
            "tasks.path=tasks.jsonl or tasks.source=minirepo, or leave it out"
        )
    data["evaluation"] = {**(evaluation or {}), "tasks": 0}


def _laid_under(given: Any, brought: MixtureSettings | ObjectiveSettings) -> Any:
    """What is given of a section, on what the method says of it, where both are of one kind."""
    if given is None or given == {}:
        return brought
    if not isinstance(given, dict) or given.get("kind", brought.kind) != brought.kind:
        return given
    return {"kind": brought.kind, **brought.model_dump(exclude_unset=True), **given}


def _wrong_method(name: Any) -> str:
    wrong = "not given" if name is None else f"{shown(name)} is not known"
    close = meant_value(str(name), list(METHODS)) or meant_plugin(name)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"method: {wrong}: use one of {', '.join(METHODS)}{hint}"
