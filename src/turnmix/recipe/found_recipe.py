"""What a recipe that came with somebody's run may not say on its own.

In: where a recipe lies, its mapping, and the recipe that it became. Out: its powerful settings: those that start
programs, name what keys are sent to or which keys, open the box that agents are in, or reach files outside the run.
They count only where the user says them too, on the command line or in a recipe of the user's own laid over it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.cluster.settings import AUTO, LOCAL
from turnmix.core.credentials import masked
from turnmix.core.doors import DoorSettings, plugin_names
from turnmix.core.json_text import json_text
from turnmix.core.plugins import is_plugin_name
from turnmix.core.yaml_text import yaml_value
from turnmix.sandboxes.container.settings import CONTAINER_LIMITS
from turnmix.sandboxes.sandbox import Limits
from turnmix.store.made_here import is_made_here
from turnmix.store.place import RECIPE, holds_run

FOUND = "came with a run that you did not make on this machine:"
_MOST_SHOWN = 2000
_TAGS = ("kind", "source")
"""Keys that say which of its kind a section is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What a setting can do."""

    does: str
    is_harmless: Callable[[Any], bool] = lambda value: not value
    """Of some of its values; left out: of none and of an empty one."""


def _no_more_than_the_usual(name: str) -> Power:
    usual = max(getattr(Limits(), name), getattr(CONTAINER_LIMITS, name))
    return Power(does="lets an agent use more of this machine", is_harmless=lambda value: value <= usual)


_OF_CODE = "is told to code of somebody's"
_IS_CODE = Power(
    does="names code of somebody's, which is run with your rights",
    is_harmless=lambda value: not plugin_names(value),
)
_SENDS = Power(does="is sent what models read, and a key")
_NAMES_KEY = Power(does="names a variable whose value is sent as a key")
_NAMES_USUAL_KEY = Power(does=_NAMES_KEY.does, is_harmless=lambda value: value in (None, "OPENAI_API_KEY"))
_READS = Power(does="names a file of this machine")

POWERFUL: Mapping[str, Power] = {
    "trackers": Power(does="sends figures elsewhere, with your keys"),
    "method": _IS_CODE,
    "tasks.source": Power(
        does=_IS_CODE.does, is_harmless=lambda value: value != "verifiers" and not plugin_names(value)
    ),
    "tasks.path": Power(does="names a file of this machine that is read, or written by `tasks prepare`"),
    "tasks.dataset.rows": _READS,
    "tasks.environment": Power(
        does="names code of somebody's, which is run with your rights",
        is_harmless=lambda value: ":" not in value,
    ),
    "tasks.url": Power(does="is an address that is asked for worlds, and told what models do"),
    "tasks.arguments": Power(does="are arguments of code of somebody's"),
    "tasks.options": Power(does="are arguments of code of somebody's"),
    "tasks.describe": _IS_CODE,
    "tasks.expert": _IS_CODE,
    "tasks.variables": Power(does="hands variables of yours to tasks of somebody's, as keys are"),
    "data.messages": Power(does="names files of this machine that are read and learned"),
    "data.tools": _READS,
    "sandbox.kind": Power(
        does="runs an agent's commands with your rights",
        is_harmless=lambda value: value in ("bubblewrap", "container"),
    ),
    **{f"sandbox.{name}": _no_more_than_the_usual(name) for name in Limits.__dataclass_fields__},
    "sandbox.python_environments": Power(does="shows an agent a directory of this machine"),
    "sandbox.container.socket": Power(does="names a program that makes containers"),
    "sandbox.container.network": Power(
        does="gives agents a network", is_harmless=lambda value: value == "none"
    ),
    "scaffold.tools": _IS_CODE,
    "scaffold.prompt.system_file": _READS,
    "scaffold.prompt.user_file": _READS,
    "rollouts.scaffold.kind": _IS_CODE,
    "rollouts.scaffold.command": Power(does="is a command that is run, in a sandbox or with your rights"),
    "rollouts.scaffold.where": Power(
        does="runs a command with your rights", is_harmless=lambda value: value in (None, "sandbox")
    ),
    "rollouts.scaffold.files": Power(does="names files of this machine that a command can read"),
    "rollouts.scaffold.directory": Power(does="names a place on this machine where a command runs"),
    "rollouts.scaffold.environment": Power(does="are variables of a command that is run"),
    "rollouts.scaffold.inherited_environment": Power(
        does="hands variables of yours to a command, as keys are"
    ),
    "rollouts.scaffold.host": Power(
        does="lets others reach the models, with a key",
        is_harmless=lambda value: value in (None, "127.0.0.1", "localhost"),
    ),
    "student.server.program": Power(does="starts a program with your rights"),
    "student.server.arguments": Power(does="are arguments of a program that is started"),
    "student.server.environment": Power(does="are variables of a program that is started"),
    "student.server.inherited_environment": Power(does="hands variables of yours to a program, as keys are"),
    "student.server.endpoint": _SENDS,
    "student.server.api_key_environment": _NAMES_KEY,
    "teacher.kind": _IS_CODE,
    "mixture.kind": _IS_CODE,
    "data.filter": _IS_CODE,
    "objective.kind": _IS_CODE,
    "teacher.endpoint": _SENDS,
    "teacher.api_key_environment": _NAMES_USUAL_KEY,
    "cluster.address": Power(
        does="names machines that do the work, and are sent what it takes",
        is_harmless=lambda value: value in (AUTO, LOCAL),
    ),
    "teacher.extra_body": Power(does="is sent to the teacher in each request, with a key"),
}
"""Dotted name -> what it can do. A setting that is a text, a path or a mapping is here or in `HARMLESS`."""
HARMLESS = frozenset(
    {
        "rollouts.accidents.kind",
        "tasks.actions",
        "tasks.dataset.split",
        "tasks.dataset.revision",
        "tasks.dataset.without_repositories",
        "tasks.holdout_tasks",
        "tasks.levels",
        "tasks.reward",
        "tasks.instructions",
        "sandbox.container.image",
        "student.model",
        "student.device",
        "student.server.model",
        "teacher.model",
        "teacher.device",
        "learner.lora.target_modules",
        "cluster.resources_per_worker",
    }
)
"""Those that name a thing only: a model (weights and a template, never code), a device, an image, a row."""


def came_with_run(path: Path) -> bool:
    """Does this recipe lie in a run, or an evaluation, that the user did not make on this machine?"""
    for name in (Path(os.path.abspath(path)), path.resolve()):
        for folder in name.parents:
            if holds_run(folder):
                if not is_made_here(folder / RECIPE):
                    return True
                break
    return False


def without_powerful(data: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`data` without its powerful settings, and without any of a plugin's."""
    return {
        key: without_powerful(value, f"{above}{key}.") if isinstance(value, Mapping) else value
        for key, value in data.items()
        if f"{above}{key}" not in POWERFUL and not _is_of_plugin(value)
    }


def publishable(value: Any, name: str = "") -> Any:
    """What of a recipe anybody may read: of places, programs and keys nothing, and of a plugin its name alone."""
    if isinstance(value, list):
        return [publishable(member, name) for member in value]
    if not isinstance(value, Mapping):
        return value
    kept = {key: member for key, member in value.items() if _is_publishable(f"{name}.{key}".lstrip("."))}
    if _is_of_plugin(value):
        return {key: member for key, member in kept.items() if key in _TAGS}
    return {key: publishable(member, f"{name}.{key}".lstrip(".")) for key, member in kept.items()}


def _is_publishable(name: str) -> bool:
    return name in ("sandbox.kind", "tasks.source") or POWERFUL.get(name, _IS_CODE) is _IS_CODE


def unsaid(
    recipe: Any, data: Mapping[str, Any], own: Mapping[str, Any], *, unused: Sequence[str] = ()
) -> list[str]:
    """A line for each powerful setting that only a found recipe says, with the words that say it too.

    recipe: the settings that `data` became
    own: `data` as it would be without what the found recipe says of powerful settings
    unused: beginnings of names, such as `teacher`, of settings that this command makes no use of
    """
    lines = []
    for name, power in POWERFUL.items():
        path = name.split(".")
        if any(name == each or name.startswith(f"{each}.") for each in unused):
            continue
        value = _at(recipe, path)
        if value is None or power.is_harmless(value) or _at(own, path) == (held := _at(data, path)):
            continue
        lines.append(f"{name}: {power.does}; say it again, or otherwise: {_words(name, held)}")
    for name, value in _plugin_settings(recipe):
        path = name.split(".")
        is_unused = any(name.startswith(f"{each}.") for each in unused)
        held = _at(data, path)
        if name in POWERFUL or is_unused or held is None or _at(own, path) == held:
            continue
        if not isinstance(value, int | float):
            lines.append(f"{name}: {_OF_CODE}; say it again, or otherwise: {_words(name, held)}")
    return lines


def _plugin_settings(recipe: Any) -> Iterator[tuple[str, Any]]:
    """What is said to plugins: nobody here knows what they make of it. A number is taken for harmless."""
    for section, settings in [*recipe, ("rollouts.scaffold", recipe.rollouts.scaffold)]:
        if isinstance(settings, DoorSettings) and is_plugin_name(getattr(settings, settings.chosen_by)):
            yield from ((f"{section}.{name}", value) for name, value in settings)


def _is_of_plugin(section: Any) -> bool:
    return isinstance(section, Mapping) and any(is_plugin_name(section.get(tag)) for tag in _TAGS)


def _at(tree: Any, path: Sequence[str]) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, Mapping) else getattr(tree, part, None)
    return tree


def _words(name: str, value: Any) -> str:
    """The word of a command line that says it, in printable characters."""
    text = value if isinstance(value, str) and _reads_back(value) else json_text(masked(value), default=str)
    if len(text) > _MOST_SHOWN:
        return f"{name}=… ({len(text):,} characters: read them in the recipe)"
    return shlex.quote(f"{name}={text}")


def _reads_back(text: str) -> bool:
    """Is it plain YAML for itself, and not a key?"""
    if not text.isascii() or not text.isprintable() or masked(text) != text:
        return False
    try:
        return bool(yaml_value(text) == text)
    except ValueError:
        return False
