"""A JSON schema without its references and combinations: the plain schemas of which a value has to fit one.

Enters: any schema, and the whole in which its references are looked up. Leaves: plain schemas; `{}`, which anything
fits, where a reference leads elsewhere or the combinations are too many.

>>> whole = {"$defs": {"Line": {"type": "integer"}}}
>>> choices({"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}]}, whole)
[{'type': 'integer'}, {'type': 'null'}]
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

MOST_LEVELS = 40
"""Of a value, and of references and combinations in one another; what lies deeper fits."""
MOST_CHOICES = 64
_ANYTHING: Sequence[Mapping[str, Any]] = ({},)


def choices(schema: Any, root: Any, *, level: int = 0) -> Sequence[Mapping[str, Any]]:
    """The plain schemas of which a value has to fit one; never none."""
    if not isinstance(schema, Mapping) or level > MOST_LEVELS:
        return _ANYTHING
    if not schema.keys() & {"$ref", "allOf", "anyOf", "oneOf"}:
        return (schema,)
    own = dict(schema)
    if "$ref" in own:
        target = referenced(own.pop("$ref"), root)
        return _ANYTHING if target is None else choices({**target, **own}, root, level=level + 1)
    alternatives = [own.pop(key) for key in ("anyOf", "oneOf") if isinstance(own.get(key), list)]
    parts = own.pop("allOf") if isinstance(own.get("allOf"), list) else []
    found: Sequence[Mapping[str, Any]] = [own]
    for part in parts:
        found = _joined(found, choices(part, root, level=level + 1))
    for given in alternatives:
        each = [choice for one in given[:MOST_CHOICES] for choice in choices(one, root, level=level + 1)]
        found = _joined(found, each or _ANYTHING)
    return found if len(found) <= MOST_CHOICES else _ANYTHING


def referenced(reference: Any, root: Any) -> Mapping[str, Any] | None:
    """The schema that a reference names; None: it lies elsewhere, or there is none."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found = root
    for part in unquote(reference[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def inlined(schema: Any, root: Any, *, within: tuple[str, ...] = ()) -> Any:
    """`schema` with what its references name in their places; a reference to what it stands in itself stays."""
    if isinstance(schema, list):
        return [inlined(each, root, within=within) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in within:
        target = referenced(reference, root)
        if target is not None:
            others = {name: value for name, value in schema.items() if name != "$ref"}
            return inlined({**target, **others}, root, within=(*within, reference))
    return {name: inlined(value, root, within=within) for name, value in schema.items()}


def _joined(
    these: Sequence[Mapping[str, Any]], those: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """What fits one of these and one of those, each pair as one schema."""
    pairs = itertools.islice(itertools.product(these, those), MOST_CHOICES + 1)
    return [_both(first, second) for first, second in pairs]


def _both(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    joined = {**first, **second}
    ours, theirs = first.get("properties"), second.get("properties")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        joined["properties"] = {**ours, **theirs}
    ours, theirs = first.get("required"), second.get("required")
    if isinstance(ours, list) and isinstance(theirs, list):
        joined["required"] = [*ours, *theirs]
    return joined
