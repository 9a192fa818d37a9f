"""From a YAML file and `key=value` overrides to validated settings; every mistake becomes a RecipeError.

In: a path or a bare recipe name, overrides as dotted paths with YAML values, and a settings class.
Out: an instance of that class, or one RecipeError whose lines each name a field, its value and the fix.
"""

from __future__ import annotations

import filecmp
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.credentials import masked, masked_word
from turnmix.core.doors import IMPORTED
from turnmix.core.errors import RecipeError
from turnmix.core.settings import Settings
from turnmix.core.yaml_text import yaml_value
from turnmix.recipe.mistakes import mistakes, nearest, shown

SettingsClass = TypeVar("SettingsClass", bound=Settings)

MOST_BYTES = MEBIBYTE // 4
"""Of a recipe file."""
RECIPES = Path("recipes")
"""Where a bare recipe name is looked up first, below the current directory."""
SHIPPED = Path(__file__).parents[1] / "recipes"
"""And then: the recipes that come with the package."""
_OTHER_FILES = {
    ".md": "a Markdown file",
    ".rst": "a text",
    ".txt": "a text",
    ".py": "a Python file",
    ".sh": "a shell script",
    ".toml": "a TOML file",
    ".ini": "an INI file",
    ".jsonl": "a file of JSON lines",
    ".ipynb": "a notebook",
    ".safetensors": "a file of weights",
}
"""Files that are taken for recipes, and what they are."""
_A_RECIPE = "name a YAML file, such as recipes/minirepo_dagger.yaml"


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
    known = known_recipes()
    hint = nearest(path.stem, known) or (f"; recipes here: {', '.join(known)}" if known else "")
    raise RecipeError(f"recipe {name!r} not found, neither as a file nor as {RECIPES}/{path.stem}.yaml{hint}")


def hides_shipped(name: str, path: Path) -> bool:
    """Was `path` found by the bare name of another recipe, which comes with the package?"""
    shipped = SHIPPED / f"{name}.yaml"
    if len(Path(name).parts) > 1 or not shipped.is_file() or path.samefile(shipped):
        return False
    return not filecmp.cmp(path, shipped, shallow=False)


def is_recipe(name: str) -> bool:
    """Does `find_recipe` find a file of this name?"""
    try:
        return find_recipe(name).suffix in (".yaml", ".yml")
    except RecipeError:
        return False


def known_recipes() -> list[str]:
    """The bare names that `find_recipe` finds from here."""
    return sorted({file.stem for folder in (RECIPES, SHIPPED) for file in folder.glob("*.y*ml")})


def read_recipe(path: Path) -> dict[str, Any]:
    """The mapping in a recipe file, not yet validated."""
    if path.suffix.lower() in _OTHER_FILES:
        other = _OTHER_FILES[path.suffix.lower()]
        raise RecipeError(f"a recipe is a YAML file, not {other} such as {path}: {_A_RECIPE}")
    try:
        text = read_bounded(path, most=MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise RecipeError(f"the recipe cannot be read: {reason} (in {path})") from error
    data = _parse(text, end=f" (in {path})")
    if data is None:
        return {}
    if not isinstance(data, dict):
        if isinstance(data, str) and (pair := re.match(r"\s*([\w.]+)\s*=\s*([^\s=]+)", data)):
            raise RecipeError(
                f"a recipe is YAML: write '{pair[1]}: {masked(pair[2])}', not with = (in {path})"
            )
        kind = "list" if isinstance(data, list) else "text" if isinstance(data, str) else "value"
        raise RecipeError(f"a recipe is a mapping of keys to values, not a {kind}: {_A_RECIPE} (in {path})")
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
            shown_word = masked_word(override)
            raise RecipeError(f"override {shown_word!r}: write it as key=value, such as learner.epochs=1")
        target = result
        for depth, part in enumerate(parts[:-1]):
            below = target.setdefault(part, {})
            if not isinstance(below, dict):
                above = ".".join(parts[: depth + 1])
                raise RecipeError(
                    f"override {masked_word(override)!r}: {above} is {shown(below)}, which has no keys below it"
                )
            target = below
        target[parts[-1]] = _parse(text, beginning=f"override {masked_word(override)!r}: ")
    return result


def validated(
    settings: type[SettingsClass],
    data: Mapping[str, Any],
    *,
    source: str,
    overrides: Sequence[str] = (),
    imported: Collection[str] | None = None,
) -> SettingsClass:
    """`data` as settings. A mistake is reported with `source`, the file that it is in, unless an override made it.
    `imported`: the plugins that may be imported; None: all."""
    try:
        return settings.model_validate(data, context={IMPORTED: imported})
    except ValidationError as error:
        overridden = [override.partition("=")[0].strip() for override in overrides]
        lines = [
            mistake if _is_of(mistake, overridden) else f"{mistake} (in {source})"
            for mistake in mistakes(settings, error, data)
        ]
        raise RecipeError(*lines) from error


def _is_of(mistake: str, overridden: Sequence[str]) -> bool:
    """Does the mistake lie at, above or below a key that an override sets?"""
    field = mistake.split()[0].rstrip(":")
    return any(f"{field}.".startswith(f"{key}.") or f"{key}.".startswith(f"{field}.") for key in overridden)


def _parse(text: str, *, beginning: str = "", end: str = "") -> Any:
    """The value in a YAML text; `beginning` and `end` say in an error where it stands."""
    try:
        return yaml_value(text)
    except ValueError as error:
        raise RecipeError(f"{beginning}{error}{end}") from error


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in data.items()}
