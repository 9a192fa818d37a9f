"""A recipe that explains itself: each setting with what it means and what it may be, as YAML with comments.

In: a recipe. Out: the text of a file that `load_recipe` reads back as an equal recipe. Sections that are
left out stand in it as comments.
"""

from __future__ import annotations

import math
import textwrap
from typing import Any

import yaml

from turnmix.core.doors import Door, door_of, door_of_items
from turnmix.core.plugins import is_plugin_name
from turnmix.core.printable import spelled_out
from turnmix.core.settings import Settings
from turnmix.recipe.field_docstrings import field_docstrings
from turnmix.recipe.recipe import Recipe, recipe_yaml
from turnmix.recipe.setting_search import sections_of

WIDTH = 80
_TYPES = {"string": "text", "boolean": "true or false"}
_NO_BREAK = "\u00a0"
_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def explained_yaml(recipe: Recipe) -> str:
    """The resolved recipe, explained."""
    data = yaml.safe_load(recipe_yaml(recipe))
    return "\n".join(_section(Recipe, data, width=WIDTH)) + "\n"


def _section(
    settings: type[Settings], data: dict[str, Any], *, width: int, door: Door | None = None
) -> list[str]:
    """The lines of one section, not indented. `door`: the one through which its kind was chosen."""
    meanings = field_docstrings(settings)
    allowed = settings.model_json_schema()["properties"]
    lines: list[str] = []
    for name, value in data.items():
        field = settings.model_fields[name]
        inside = sections_of(field, value)
        items = door_of_items(field)
        if door is not None and name == door.tag:
            told = _kinds(door, settings, kind=value)
        elif items is not None:
            told = _kinds(items)
        else:
            told = "" if inside else f"({_unbroken(_allowed(allowed[name]))})"
        lines += [""] if settings is Recipe and lines else []
        lines += _comment(f"{meanings.get(name, '')} {told}", width=width)
        if not inside:
            lines.append(f"{name}: {_value(value)}")
            lines += [] if items is None else _plugins(items, value, width=width)
        elif value is None:
            left_out = _section(inside[0], _defaults(inside[0]), width=width - 4, door=door_of(field))
            lines += [f"{name}: null", f"# {name}:", *(f"#   {line}" for line in left_out)]
        else:
            within = door_of(field)
            chosen = inside[0] if within is None else within.known(value) or within.base
            below = _section(chosen, value, width=width - 2, door=within)
            lines += [f"{name}:", *(f"  {line}" for line in below)]
    return lines


def _plugins(door: Door, items: list[Any], *, width: int) -> list[str]:
    """The settings of a list's plugins, explained behind it."""
    lines = []
    for item in items:
        if isinstance(item, dict) and (settings := door.known(item)) is not None:
            explained = _section(settings, item, width=width - 4)
            lines += [f"# {item[door.tag]}:", *(f"#   {line}" for line in explained)]
    return lines


def _comment(text: str, *, width: int) -> list[str]:
    lines = textwrap.wrap(text, width - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {line.replace(_NO_BREAK, ' ')}" for line in lines]


def _unbroken(text: str) -> str:
    """A short text stays on one line."""
    return text.replace(" ", _NO_BREAK) if len(text) < WIDTH // 3 else text


def _kinds(door: Door, chosen: type[Settings] | None = None, *, kind: str = "") -> str:
    """The kinds of a section, what each is, and what it cannot do without."""
    told = []
    plugin = {kind: chosen} if chosen is not None and is_plugin_name(kind) else {}
    for name, each in {**plugin, **door.kinds}.items():
        meaning = " ".join((each.__doc__ or "").split()).partition(". ")[0].rstrip(".")
        required = [key for key, info in each.model_fields.items() if info.is_required()]
        needed = " and ".join(key for key in required if key != door.tag)
        told.append(f"{name}: {meaning[:1].lower()}{meaning[1:]}{f' (give {needed})' if needed else ''}")
    return f"{'; '.join(told)}; or package.module:Name."


def _defaults(settings: type[Settings]) -> dict[str, Any]:
    """What a section that is left out would hold; `…` is to be given."""
    required: dict[str, Any] = {
        name: "…" for name, field in settings.model_fields.items() if field.is_required()
    }
    data: dict[str, Any] = settings.model_construct(**required).model_dump(mode="json", warnings=False)
    return data


def _value(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=math.inf)
    if text != spelled_out(text, kept="\n"):
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("...\n").strip()


def _allowed(schema: dict[str, Any]) -> str:
    """What a JSON schema, as pydantic writes it of one field, lets through.

    >>> _allowed({"anyOf": [{"exclusiveMinimum": 0, "maximum": 1, "type": "number"}, {"type": "null"}]})
    'number > 0 and ≤ 1, or null'
    """
    if "anyOf" in schema:
        return ", or ".join(_allowed(each) for each in schema["anyOf"])
    if "enum" in schema:
        *others, last = schema["enum"]
        return f"{', '.join(others)} or {last}" if others else str(last)
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if "prefixItems" in schema:
        return f"[{', '.join(_allowed(each) for each in schema['prefixItems'])}]"
    if kind == "array":
        return f"list of {_allowed(schema['items'])}"
    if kind == "object":
        return "keys with values of your own"
    if schema.get("format") == "path":
        return "path"
    bounds = " and ".join(f"{sign} {schema[name]:,.12g}" for name, sign in _BOUNDS if name in schema)
    return f"{_TYPES.get(str(kind), kind)} {bounds}".strip()
