"""What is wrong with a recipe, told to who wrote it.

In: a settings class, what was given for it, and pydantic's account of why that will not do. Out: one line
for each mistake, with the field as the recipe names it, its value and the fix.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from turnmix.core.credentials import KEY_REMEDY, masked, names_key
from turnmix.core.doors import UNKNOWN_KIND, Door, door_of
from turnmix.core.plugins import is_plugin_name, meant_plugin, raised_at
from turnmix.core.settings import Settings
from turnmix.recipe.setting_search import is_called, meant, meant_value, sections_of, told_elsewhere

MOST_TOLD = 20


def mistakes(settings: type[Settings], error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """One line for each field at fault."""
    found: list[list[tuple[_Place, Any]]] = []
    for detail in error.errors():
        place = _located(settings, detail["loc"], given)
        # Of what may be one of several types pydantic tells once for each type: first the outer ones.
        above = found[-1][-1][0] if found else None
        if above is None or not place.several or place.several != above.several:
            found.append([(place, detail)])
        elif place.path == above.path:
            found[-1].append((place, detail))
        elif above.path == above.several:
            found[-1] = [(place, detail)]
        else:
            found.append([(place, detail)])
    told = [_explained(faults, settings, given) for faults in found[:MOST_TOLD]]
    return [*told, *([f"… and {len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else [])]


def literals(settings: type[Settings], field: str) -> list[str]:
    """What a field of fixed values may be."""
    info = settings.model_fields.get(field)
    if info is None or get_origin(info.annotation) is not Literal:
        return []
    return [str(value) for value in get_args(info.annotation)]


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint, where the name is nearly one that is known."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: Any) -> str:
    """A value as an error shows it: keys, and a URL's user and password, are left out."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float, str, list, dict)):
        return repr(masked(value))
    return str(value)


@dataclass(slots=True, kw_only=True)
class _Place:
    """Where in a recipe a mistake is."""

    path: list[str]
    """The keys that lead there, without union tags."""
    enclosing: list[type[Settings]]
    """What the last key is, or should be, a key of."""
    inside: list[type[Settings]]
    """What the value under the last key can be, if it has keys of its own."""
    chosen_by: Door | None = None
    """The door that `enclosing` was chosen through."""
    door: Door | None = None
    """The one through which one of `inside` is chosen."""
    several: list[str]
    """The keys that lead to a value that may have several types, and here has none of them."""
    is_secret: bool = False
    """Is this, or what holds it, never to be shown?"""

    @property
    def field(self) -> str:
        return ".".join(self.path)


def _located(settings: type[Settings], location: Sequence[int | str], given: Mapping[str, Any]) -> _Place:
    place = _Place(path=[], enclosing=[], inside=[settings], several=[])
    may_be_several = False
    for part in location:
        if may_be_several:
            may_be_several, place.several = False, [*place.path]
            continue
        place.path.append(str(part))
        place.enclosing, place.chosen_by = place.inside, place.door
        place.is_secret |= any(part in candidate.secret_fields for candidate in place.enclosing)
        fields = [field for each in place.inside if (field := each.model_fields.get(str(part)))]
        held = _held(place.path, given)
        place.inside = [found for field in fields for found in sections_of(field, held)]
        place.door = next(filter(None, map(door_of, fields)), None)
        chosen = place.door.known(held) if place.door is not None and isinstance(held, Mapping) else None
        place.inside = place.inside if chosen is None else [chosen]
        may_be_several = not place.inside and any(_num_types(field.annotation) > 1 for field in fields)
    return place


def _num_types(annotation: Any) -> int:
    if get_origin(annotation) not in (Union, types.UnionType):
        return 1
    return sum(argument is not type(None) for argument in get_args(annotation))


def _explained(
    faults: Sequence[tuple[_Place, Any]], settings: type[Settings], given: Mapping[str, Any]
) -> str:
    """One line: the dotted field, the value and the fix."""
    place, detail = faults[0]
    prefix = f"{place.field}: " if place.path else ""
    kind = detail["type"]
    if kind in ("extra_forbidden", "invalid_key"):
        return f"{prefix}unknown key{_owner(place, given)}{_key_hint(place, settings, given)}"
    if kind == "missing":
        return f"{prefix}not given: add it"
    if kind == UNKNOWN_KIND and place.door is not None:
        value, names = detail["ctx"]["given"], list(place.door.kinds)
        close = (
            f"; did you mean {meant_plugin(value)!r}?" if meant_plugin(value) else _value_hint(value, names)
        )
        hint = close or ", or code of your own as package.module:Name"
        return f"{place.field}.{place.door.tag}: {shown(value)} is not known: use one of {', '.join(names)}{hint}"
    message = _message(detail)
    if message.startswith(f"{place.field}."):
        return message
    value = detail["input"]
    if kind in ("model_type", "model_attributes_type"):
        return f"{prefix}{shown(value)}: must have keys of its own{_section_hint(place, value)}"
    if place.is_secret or (kind in ("value_error", "assertion_error") and isinstance(value, dict)):
        return f"{prefix}{message}"
    told = [_message(fault) for _, fault in faults]
    reason = ", or ".join(f"{each[:1].lower()}{each[1:]}" for each in told)
    if any(fault["type"] in ("tuple_type", "list_type") for _, fault in faults) and isinstance(value, str):
        return f"{prefix}{shown(value)}: {reason}: write [{masked(value)}]"
    if place.field.endswith("_bytes") and isinstance(value, str) and (size := _bytes(value)):
        return f"{prefix}{shown(value)}: {reason}, a number of bytes: write {size}"
    known = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    return f"{prefix}{shown(value)}: {reason}{_value_hint(value, known)}"


def _message(detail: Any) -> str:
    message: str = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not message:
        return raised_at(detail["ctx"]["error"])
    if detail["type"] != "value_error":
        message = message.partition(", unable to ")[0]
    return message.replace("Input should be", "must be").replace("tuple", "list")


def _bytes(text: str) -> int | None:
    """
    >>> _bytes("2GB"), _bytes("1.5 MiB"), _bytes("many")
    (2000000000, 1572864, None)
    """
    match = re.fullmatch(r"([0-9.]+)\s*([kmgt])(i?)b?", text.strip().lower())
    if match is None or match[1].count(".") > 1:
        return None
    return int(float(match[1]) * (1024 if match[3] else 1000) ** ("kmgt".index(match[2]) + 1))


def _value_hint(value: Any, known: list[str]) -> str:
    close = meant_value(str(value), known) if isinstance(value, str | bool) else None
    return f"; did you mean {close!r}?" if close else ""


def _key_hint(place: _Place, settings: type[Settings], given: Mapping[str, Any]) -> str:
    """Where an unknown key belongs, or which key was meant."""
    key, section = place.path[-1], ".".join(place.path[:-1])
    if names_key(key):
        return f": {KEY_REMEDY}"
    kinds = {} if place.chosen_by is None else place.chosen_by.kinds
    others = {name: each for name, each in kinds.items() if each not in place.enclosing}
    tag = "" if place.chosen_by is None else place.chosen_by.tag
    is_plugin = bool(kinds) and len(others) == len(kinds)
    if not is_plugin and (owners := [name for name, each in others.items() if key in each.model_fields]):
        further = _further([others[name] for name in owners], section, given)
        return f" of this {tag}; set {section}.{tag} to {' or '.join(owners)}{further}"
    value = _held(place.path, given)
    inner = f"{place.field}.{next(iter(value))}" if isinstance(value, Mapping) and value else ""
    # Of a section that is unknown, what stands in it says more: `trainer.lr`.
    for name in filter(None, (inner, place.field)):
        if told := told_elsewhere(name):
            return f": {told}"
    known = _keys(place.enclosing)
    # Not those of other kinds of this section.
    found = [
        name
        for name in meant(place.field, settings, given)
        if not name.startswith(f"{section}.") or name.removeprefix(f"{section}.").partition(".")[0] in known
    ]
    if inner and (of_inner := meant(inner, settings, given)) and is_called(inner, of_inner[0]):
        return f"; did you mean {' or '.join(map(repr, of_inner))}?"
    if not found or not is_called(place.field, found[0]):
        # A slip within the section that was named is likelier than a like word elsewhere.
        if hint := nearest(key, known):
            return hint
        for name, other in others.items():
            if close := difflib.get_close_matches(key, _keys([other]), n=1):
                return f"; did you mean {close[0]!r}, a key where {section}.{tag} is {name}?"
    if found:
        inside = f"{section}."
        shortened = [
            short
            for name in found
            if name.startswith(inside) and "." not in (short := name.removeprefix(inside))
        ] or found
        return f"; did you mean {' or '.join(map(repr, shortened))}?"
    return f"; known keys: {', '.join(known)}"


def _owner(place: _Place, given: Mapping[str, Any]) -> str:
    """Whose key it would be, where a plugin's settings have none of that name."""
    section = _held(place.path[:-1], given)
    if place.chosen_by is None or not isinstance(section, Mapping):
        return ""
    kind = place.chosen_by.kind_of(section)
    return f" of {kind}" if is_plugin_name(kind) else ""


def _held(path: Sequence[str], given: Mapping[str, Any]) -> Any:
    """What was given under these keys."""
    held: Any = given
    for part in path:
        held = held.get(part) if isinstance(held, Mapping) else None
    return held


def _further(owners: Sequence[type[Settings]], section: str, given: Mapping[str, Any]) -> str:
    """What else the one kind of section that has the key needs, and what of the given it has not."""
    held = _held(section.split("."), given)
    if len(owners) > 1 or not isinstance(held, Mapping):
        return ""
    fields = owners[0].model_fields
    missing = [
        f"{section}.{name}" for name, field in fields.items() if field.is_required() and name not in held
    ]
    foreign = [f"{section}.{name}" for name in held if name not in fields]
    gives = f", and give {' and '.join(missing)}" if missing else ""
    return gives + (f", and leave {' and '.join(foreign)} out" if foreign else "")


def _section_hint(place: _Place, value: Any) -> str:
    """The keys of a section for which something else was given."""
    for name in _keys(place.inside):
        if any(value in literals(candidate, name) for candidate in place.inside):
            return f"; did you mean {{{name}: {value}}}?"
    kinds = [each for candidate in place.inside for each in literals(candidate, "kind")]
    if isinstance(value, str) and (kind := meant_value(value, kinds)):
        return f"; did you mean {{kind: {kind}}}?"
    if isinstance(value, str) and len(place.inside) == 1 and "model" in place.inside[0].model_fields:
        return f"; did you mean {{model: {masked(value)}}}?"
    needs_nothing = not any(
        field.is_required() for each in place.inside for field in each.model_fields.values()
    )
    if value is True and needs_nothing:
        return "; write {} for one with all its defaults"
    if place.door is not None and is_plugin_name(value):
        return f"; did you mean {{{place.door.tag}: {value}}}?"
    if place.door is not None:
        told = []
        for name, candidate in place.door.kinds.items():
            required = [key for key, field in candidate.model_fields.items() if field.is_required()]
            needs = f" with {' and '.join(required)}" if required else ""
            told.append(f"{place.door.tag} {name}{needs}")
        return f": {', or '.join(told)}"
    return f": {', '.join(_keys(place.inside))}"


def _keys(candidates: Sequence[type[Settings]]) -> list[str]:
    return list(dict.fromkeys(name for candidate in candidates for name in candidate.model_fields))
