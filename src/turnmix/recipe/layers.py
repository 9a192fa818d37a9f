"""A recipe file and those that it extends, laid one over the other.

In: a recipe file, and the method that it is to be read for. Out: one mapping, not yet validated, and what was left
out of it. A file names the one below it as `extends: other.yaml`, relative to itself, or by a recipe's bare name.

What a method brings (who acts, what is kept, rollouts of a task, the objective) belongs to the method that the file
says: where another method is asked for, it is left out, and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from turnmix.core.errors import RecipeError, UserError
from turnmix.core.plugins import is_plugin_name
from turnmix.methods.registry import METHODS, find_method
from turnmix.recipe.found_recipe import came_with_run, without_powerful
from turnmix.recipe.mistakes import shown
from turnmix.recipe.recipe_file import SHIPPED, find_recipe, read_recipe
from turnmix.recipe.sections import DOORS

EXTENDS = "extends"
MOST_LAYERS = 8
_TAGS = ("kind", "source")
_BROUGHT = {
    "mixture": None,
    "data": ("filter",),
    "rollouts": ("samples_per_task",),
    "objective": None,
}
"""Section -> which of its keys a method brings; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One recipe file."""

    path: Path
    data: Mapping[str, Any]
    """Without `extends`."""
    below: Layer | None
    is_found: bool = False
    """It came with somebody's run, or one that did chose it: it speaks for somebody else."""

    @property
    def source(self) -> str:
        """How a message names it."""
        name = self.path.stem if self.path.parent == SHIPPED else str(self.path)
        return name if self.below is None else f"{name}, on {self.below.source}"

    def without_powerful(self) -> Layer:
        """What of it counts though the user does not say it: all of it, where it speaks for the user."""
        return replace(self, data=without_powerful(self.data)) if self.is_found else self


def read_layers(path: Path, *, is_found: bool = False) -> list[Layer]:
    """The file at `path` last, before it the one that it extends, and so on down. `is_found`: it speaks for somebody
    else, wherever it lies.

    Raises:
        RecipeError: one of them cannot be read, or they extend each other without end.
    """
    paths, found = [path], [read_recipe(path)]
    while (wanted := found[-1].pop(EXTENDS, None)) is not None:
        below = _located(wanted, paths[-1])
        if any(below.resolve() == above.resolve() for above in paths):
            circle = " → ".join(str(each) for each in [*paths, below])
            raise RecipeError(f"{paths[-1]}: extends: {circle}: a circle: take one of them out")
        if len(paths) == MOST_LAYERS:
            raise RecipeError(f"{path}: extends: more than {MOST_LAYERS} files on each other: merge some")
        paths.append(below)
        found.append(read_recipe(below))
    layers: list[Layer] = []
    for place, (each, data) in reversed(list(enumerate(zip(paths, found, strict=True)))):
        is_shipped = SHIPPED.resolve() in each.resolve().parents
        others = not is_shipped and (is_found or any(map(came_with_run, paths[: place + 1])))
        layers.append(Layer(path=each, data=data, below=layers[-1] if layers else None, is_found=others))
    return layers


def merged(layers: Sequence[Layer], *, method: Any = None) -> tuple[dict[str, Any], list[str]]:
    """The layers as one recipe, read for `method`, or for the last one that they say; and a line for each layer
    that loses something because it was written for another method."""
    said = [layer.data.get("method") for layer in layers]
    wanted = (
        method if method is not None else next((each for each in reversed(said) if each is not None), None)
    )
    # Code that only somebody else's recipe names is not imported.
    found = [name for layer in layers if layer.is_found and is_plugin_name(name := layer.data.get("method"))]
    found = [name for name in found if name != method]
    result: dict[str, Any] = {}
    lines: list[str] = []
    written_for = None
    for layer, own in zip(layers, said, strict=True):
        written_for = own if own is not None else written_for
        data = layer.data
        if written_for is not None and written_for != wanted and _is_method(wanted):
            is_sampled = any(_is_sampled(each) for each in (written_for, wanted) if each not in found)
            data, lost = _without_method(data, is_sampled=is_sampled)
            if lost:
                *others, last = lost
                names = (
                    f"{', '.join(others)} and {last} of {layer.path} are"
                    if others
                    else f"{last} of {layer.path} is"
                )
                lines.append(
                    f"method={wanted}: {names} left out, since {'they belong' if others else 'it belongs'} "
                    f"to {written_for}"
                )
        result = _laid_over(result, data)
    return result, lines


def without_other_kinds(
    data: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """`data` without those sections for which `given` says another kind; and a line for each of them."""
    return _without_other_kinds(data, given, above="")


def _without_other_kinds(
    data: Mapping[str, Any], given: Mapping[str, Any], *, above: str
) -> tuple[dict[str, Any], list[str]]:
    result, lines = dict(data), []
    for name, value in given.items():
        section, held = f"{above}{name}", data.get(name)
        if not isinstance(value, Mapping) or not isinstance(held, Mapping):
            continue
        result[name], told = _without_other_kinds(held, value, above=f"{section}.")
        lines += told
        kinds = {**implied_kind(section, held), **{tag: held[tag] for tag in _TAGS if tag in held}}
        for tag in _TAGS:
            gone = [f"{section}.{key}" for key in held if key != tag]
            if tag in value and kinds.get(tag, value[tag]) != value[tag] and gone:
                result[name] = {}
                lines.append(
                    f"{section}.{tag}={_word(value[tag])}: {', '.join(gone)} of the recipe left out, with "
                    f"{section}.{tag} {kinds[tag]}"
                )
    return result, lines


def implied_kind(section: str, data: Mapping[str, Any]) -> dict[str, str]:
    """The kind of a section, as its other keys show it where it is not said; nothing for other sections."""
    door = DOORS.get(section)
    kind = None if door is None else door.kind_of(data)
    return {} if door is None or not kind else {door.tag: kind}


def _located(wanted: Any, above: Path) -> Path:
    """The file that `above` extends."""
    if not isinstance(wanted, str) or not wanted:
        raise RecipeError(
            f"{above}: {EXTENDS}: {shown(wanted)}: must be the name or the path of one recipe, such as minirepo"
        )
    for suffix in ("", ".yaml", ".yml"):
        path = above.parent / f"{wanted}{suffix}"
        if path.is_file() and not (suffix and path.samefile(above)):
            return path
    try:
        found = find_recipe(wanted)
        # A recipe of the name of one that comes with the package is laid over that one.
        shipped = SHIPPED / f"{wanted}.yaml"
        return shipped if found.samefile(above) and shipped.is_file() else found
    except RecipeError as error:
        raise RecipeError(f"{above}: {EXTENDS}: {wanted!r} is not beside this file; {error}") from None


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """`above` key by key over `below`; a section that says another kind than the one below replaces it."""
    kinds = {**{tag: below[tag] for tag in _TAGS if tag in below}, **implied_kind(section, below)}
    if below and any(tag in above and kinds.get(tag, above[tag]) != above[tag] for tag in _TAGS):
        return dict(above)
    result = dict(below)
    for key, value in above.items():
        old = below.get(key)
        is_section = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _laid_over(old, value, f"{section}.{key}".lstrip(".")) if is_section else value  # type: ignore[arg-type]
    return result


def _without_method(data: Mapping[str, Any], *, is_sampled: bool) -> tuple[dict[str, Any], list[str]]:
    """`data` without what a method brings, and the names of what it lost. `is_sampled`: the old method or the new
    one needs tokens sampled from all of them."""
    brought = {**_BROUGHT, **({"student": ("top_p",)} if is_sampled else {})}
    result, lost = dict(data), []
    for section, keys in brought.items():
        held = data.get(section)
        if held is None:
            continue
        if keys is None or not isinstance(held, Mapping):
            lost.append(section)
            del result[section]
            continue
        if gone := [key for key in keys if held.get(key) is not None]:
            lost += [f"{section}.{key}" for key in gone]
        result[section] = {key: value for key, value in held.items() if key not in keys}
    return result, lost


def _is_method(name: Any) -> bool:
    return name in list(METHODS) or is_plugin_name(name)


def _is_sampled(method: Any) -> bool:
    """Does it learn from how likely its own tokens were? Of one that is not there nothing is known."""
    if not _is_method(method):
        return False
    try:
        return find_method(method).objective.learns_from_samples
    except UserError:
        return False


def _word(kind: Any) -> str:
    return "null" if kind is None else str(kind)
