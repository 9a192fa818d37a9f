"""What is wrong with a recipe, told to who wrote it.

Enters: a settings class, what was given for it, and pydantic's account of why that will not do. Leaves: one line
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
from turnmix.core.settings import Settings
from turnmix.recipe.setting_search import is_called, meant, meant_value, settings_in, told_elsewhere

MOST_TOLD = 20


def mistakes(settings: type[Settings], error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """One line for each field at fault."""
    found: list[list[tuple[_Place, Any]]] = []
    for detail in error.errors():
        place = _located(settings, detail["loc"])
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
    alternatives: list[type[Settings]]
    """The union that `enclosing` was chosen from."""
    tag: str = ""
    """The key that chose it."""
    below: str = ""
    """The key that chooses one of `inside`."""
    several: list[str]
    """The keys that lead to a value that may have several types, and here has none of them."""
    is_secret: bool = False
    """Is this, or what holds it, never to be shown?"""

    @property
    def field(self) -> str:
        return ".".join(self.path)


def _located(settings: type[Settings], location: Sequence[int | str]) -> _Place:
    place = _Place(path=[], enclosing=[], inside=[settings], alternatives=[], several=[])
    may_be_several = False
    for part in location:
        if may_be_several:
            may_be_several, place.several = False, [*place.path]
            continue
        tagged = [each for each in place.inside if part in literals(each, place.below)]
        if place.below and tagged:
            place.alternatives, place.inside = place.inside, tagged
            place.tag, place.below = place.below, ""
            continue
        place.path.append(str(part))
        place.enclosing = place.inside
        place.is_secret |= any(part in candidate.secret_fields for candidate in place.enclosing)
        fields = [field for each in place.inside if (field := each.model_fields.get(str(part)))]
        place.inside = [found for field in fields for found in settings_in(field.annotation)]
        place.below = next((str(field.discriminator) for field in fields if field.discriminator), "")
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
        return f"{prefix}unknown key{_key_hint(place, settings, given)}"
    if kind == "missing":
        return f"{prefix}not given: add it"
    if kind.startswith("union_tag"):
        tag = detail["ctx"]["discriminator"].strip("'")
        tags = [value for candidate in place.inside for value in literals(candidate, tag)]
        value = detail["ctx"].get("tag")
        wrong = "not given" if value is None else f"{shown(value)} is not known"
        return f"{place.field}.{tag}: {wrong}: use one of {', '.join(tags)}{_value_hint(value, tags)}"
    message = _message(detail)
    if message.startswith(f"{place.field}."):
        return message
    value = detail["input"]
    if kind in ("model_type", "model_attributes_type"):
        return f"{prefix}{shown(value)}: must have keys of its own{_section_hint(place, value)}"
    if place.is_secret or (kind == "value_error" and isinstance(value, dict)):
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
    others = [candidate for candidate in place.alternatives if candidate not in place.enclosing]
    if owners := [candidate for candidate in others if key in candidate.model_fields]:
        names = " or ".join(literals(owner, place.tag)[0] for owner in owners)
        return f" of this {place.tag}; set {section}.{place.tag} to {names}{_further(owners, section, given)}"
    value = _held(place.path, given)
    inner = f"{place.field}.{next(iter(value))}" if isinstance(value, Mapping) and value else ""
    # Of a section that is unknown, what stands in it says more: `trainer.lr`.
    for name in filter(None, (inner, place.field)):
        if told := told_elsewhere(name):
            return f": {told}"
    found = meant(place.field, settings)
    known = _keys(place.enclosing)
    if inner and (of_inner := meant(inner, settings)) and is_called(inner, of_inner[0]):
        return f"; did you mean {' or '.join(map(repr, of_inner))}?"
    if not found or not is_called(place.field, found[0]):
        # A slip within the section that was named is likelier than a like word elsewhere.
        if hint := nearest(key, known):
            return hint
        for other in others:
            if close := difflib.get_close_matches(key, _keys([other]), n=1):
                name = literals(other, place.tag)[0]
                return f"; did you mean {close[0]!r}, a key where {section}.{place.tag} is {name}?"
    if found:
        inside = f"{section}."
        shortened = [
            short
            for name in found
            if name.startswith(inside) and "." not in (short := name.removeprefix(inside))
        ] or found
        return f"; did you mean {' or '.join(map(repr, shortened))}?"
    return f"; known keys: {', '.join(known)}"


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
    if place.below:
        kinds = []
        for candidate in place.inside:
            required = [key for key, field in candidate.model_fields.items() if field.is_required()]
            needs = f" with {' and '.join(required)}" if required else ""
            kinds.append(f"{place.below} {literals(candidate, place.below)[0]}{needs}")
        return f": {', or '.join(kinds)}"
    return f": {', '.join(_keys(place.inside))}"


def _keys(candidates: Sequence[type[Settings]]) -> list[str]:
    return list(dict.fromkeys(name for candidate in candidates for name in candidate.model_fields))
