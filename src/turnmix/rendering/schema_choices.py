"""A JSON schema without its references and combinations: the plain schemas of which a value has to fit one.

In: any schema, and the whole in which its references are looked up. Out: plain schemas; `{}`, which anything
fits, where a reference leads elsewhere or the combinations are too many.

>>> whole = {"$defs": {"Line": {"type": "integer"}}}
>>> SchemaReading(whole).choices({"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}]})
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
MOST_STEPS = 5_000
_COMBINING = {"$ref", "allOf", "anyOf", "oneOf"}
_ANYTHING: Sequence[Mapping[str, Any]] = ({},)


class SchemaReading:
    """One look at a value, or at a schema alone: what was found out of the schema, and how much more is looked at.

    Combinations of combinations may be endless: what comes after `MOST_STEPS` of them fits.
    """

    def __init__(self, root: Any) -> None:
        """`root`: in which references are looked up."""
        self._root = root
        self._steps_left = MOST_STEPS
        # By the object's number; the object is kept with it, so that no other one gets that number.
        self._known: dict[int, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = {}

    def may_go_on(self, level: int) -> bool:
        """Asked at each fork: may each of its ways be gone?"""
        self._steps_left -= 1
        return self._steps_left > 0 and level <= MOST_LEVELS

    def choices(self, schema: Any, *, level: int = 0) -> Sequence[Mapping[str, Any]]:
        """The plain schemas of which a value has to fit one; never none."""
        if not isinstance(schema, Mapping):
            return _ANYTHING
        if not schema.keys() & _COMBINING:
            return (schema,)
        if id(schema) not in self._known:
            found = self._combined(schema, level) if self.may_go_on(level) else _ANYTHING
            self._known[id(schema)] = (schema, found)
        return self._known[id(schema)][1]

    def _combined(self, schema: Mapping[str, Any], level: int) -> Sequence[Mapping[str, Any]]:
        own = dict(schema)
        if "$ref" in own:
            target = referenced(own.pop("$ref"), self._root)
            if target is None:
                return _ANYTHING
            return self.choices({**target, **own} if own else target, level=level + 1)
        alternatives = [own.pop(key) for key in ("anyOf", "oneOf") if isinstance(own.get(key), list)]
        parts = own.pop("allOf") if isinstance(own.get("allOf"), list) else []
        found: Sequence[Mapping[str, Any]] = [own]
        for part in parts:
            found = _joined(found, self.choices(part, level=level + 1))
        for given in alternatives:
            each = [choice for one in given[:MOST_CHOICES] for choice in self.choices(one, level=level + 1)]
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
