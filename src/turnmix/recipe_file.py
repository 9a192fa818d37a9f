"""From a YAML file and `key=value` overrides to validated settings; every mistake becomes a RecipeError.

In: a path or a bare recipe name, overrides as dotted paths with YAML values, and a settings class.
Out: an instance of that class, or one RecipeError whose lines each name a field, its value and the fix.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from turnmix.core.errors import RecipeError
from turnmix.settings import Settings

SettingsClass = TypeVar("SettingsClass", bound=Settings)

RECIPES = Path("recipes")
"""Where a bare recipe name is looked up first, below the current directory."""
SHIPPED = Path(__file__).parent / "recipes"
"""And then: the recipes that come with the package."""


def find_recipe(name: str) -> Path:
    """The file of a recipe given by path, or by bare name: in `recipes/`, or one that comes with the package."""
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise RecipeError(f"recipe {name!r} is a directory: name a YAML file")
    if path.suffix == "" and len(path.parts) == 1:
        for folder in (RECIPES, SHIPPED):
            for suffix in (".yaml", ".yml"):
                if (candidate := folder / f"{name}{suffix}").is_file():
                    return candidate
    known = sorted({file.stem for folder in (RECIPES, SHIPPED) for file in folder.glob("*.y*ml")})
    hint = _nearest(path.stem, known) or (f"; recipes here: {', '.join(known)}" if known else "")
    raise RecipeError(f"recipe {name!r} not found, neither as a file nor as {RECIPES}/{path.stem}.yaml{hint}")


def read_recipe(path: Path) -> dict[str, Any]:
    """The mapping in a recipe file, not yet validated."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    data = _parse(text, where=str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, not a {type(data).__name__}")
    return data


def with_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `data` in which each `dotted.path=value` is set, later ones winning.

    >>> with_overrides({"learner": {"epochs": 3}}, ["learner.epochs=1", "seed=7"])
    {'learner': {'epochs': 1}, 'seed': 7}
    """
    result = _copied(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise RecipeError(f"override {override!r}: write it as key=value, such as learner.epochs=1")
        target = result
        for depth, part in enumerate(parts[:-1]):
            below = target.setdefault(part, {})
            if not isinstance(below, dict):
                above = ".".join(parts[: depth + 1])
                raise RecipeError(f"override {override!r}: {above} is {below!r}, which has no keys below it")
            target = below
        target[parts[-1]] = _parse(text, where=f"override {override!r}")
    return result


def validated(settings: type[SettingsClass], data: Mapping[str, Any], *, source: str) -> SettingsClass:
    """`data` as settings; `source` is the file (and overrides) that a mistake is reported against."""
    try:
        return settings.model_validate(data)
    except ValidationError as error:
        lines = [f"{source}: {_explained(settings, detail)}" for detail in error.errors()]
        raise RecipeError("\n".join(lines)) from error


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key given twice, which YAML would silently let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice: keep one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _parse(text: str, *, where: str) -> Any:
    try:
        return yaml.load(text, _UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" at line {error.problem_mark.line + 1}"
        raise RecipeError(f"{where}: not valid YAML{line}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not valid YAML: {error}") from error


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in data.items()}


def _explained(settings: type[Settings], detail: Any) -> str:
    """One line for one pydantic error: the dotted field, the value and the fix."""
    place = _located(settings, detail["loc"])
    prefix = f"{place.field}: " if place.path else ""
    if detail["type"] == "extra_forbidden":
        return f"{prefix}unknown key{_key_hint(place)}"
    if detail["type"] == "missing":
        return f"{prefix}not given: add it"
    if detail["type"].startswith("union_tag"):
        tag = detail["ctx"]["discriminator"].strip("'")
        tags = [value for candidate in place.inside for value in _literals(candidate, tag)]
        given = detail["ctx"].get("tag")
        wrong = "not given" if given is None else f"{given!r} is not known"
        return f"{place.field}.{tag}: {wrong}: use one of {', '.join(tags)}{_nearest(given or '', tags)}"
    message: str = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if message.startswith(f"{place.field}."):
        return message
    if detail["type"] == "model_type":
        return f"{prefix}{detail['input']!r}: must have keys of its own: {', '.join(_keys(place.inside))}"
    is_secret = any(candidate.model_config.get("hide_input_in_errors") for candidate in place.enclosing)
    if is_secret or (detail["type"] == "value_error" and isinstance(detail["input"], dict)):
        return f"{prefix}{message}"
    message = message.replace("Input should be", "must be")
    return f"{prefix}{detail['input']!r}: {message[:1].lower()}{message[1:]}"


@dataclass(slots=True, kw_only=True)
class _Place:
    """Where in a recipe a mistake is."""

    path: list[str]
    """The keys that lead there, without union tags."""
    enclosing: list[type[Settings]]
    """What the last key is, or should be, a key of."""
    inside: list[type[Settings]]
    """What the value under the last key can be, if it has keys of its own."""
    alternatives: list[type[Settings]]
    """The union that `enclosing` was chosen from."""

    @property
    def field(self) -> str:
        return ".".join(self.path)


def _located(settings: type[Settings], location: Sequence[int | str]) -> _Place:
    place = _Place(path=[], enclosing=[], inside=[settings], alternatives=[])
    for part in location:
        tagged = [candidate for candidate in place.inside if part in _literals(candidate, "kind")]
        if len(place.inside) > 1 and tagged:
            place.alternatives, place.inside = place.inside, tagged
            continue
        place.path.append(str(part))
        place.enclosing, fields = (
            place.inside,
            [candidate.model_fields.get(str(part)) for candidate in place.inside],
        )
        place.inside = [found for field in fields if field for found in _settings_in(field.annotation)]
    return place


def _key_hint(place: _Place) -> str:
    key, section = place.path[-1], ".".join(place.path[:-1])
    owners = [candidate for candidate in place.alternatives if key in candidate.model_fields]
    if owners and owners != place.enclosing:
        kinds = " or ".join(_literals(owner, "kind")[0] for owner in owners)
        return f" of this kind; set {section}.kind to {kinds}"
    known = _keys(place.enclosing)
    return _nearest(key, known) or f"; known keys: {', '.join(known)}"


def _keys(candidates: Sequence[type[Settings]]) -> list[str]:
    return list(dict.fromkeys(name for candidate in candidates for name in candidate.model_fields))


def _literals(candidate: type[Settings], field: str) -> list[str]:
    info = candidate.model_fields.get(field)
    if info is None or get_origin(info.annotation) is not Literal:
        return []
    return [str(value) for value in get_args(info.annotation)]


def _settings_in(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, Annotated):
        for argument in get_args(annotation):
            yield from _settings_in(argument)


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
