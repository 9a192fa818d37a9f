"""In: a recipe as it was given. Out: an error, where a key is typed into it.

A recipe is stored with its run, shown, and given on: no key belongs into it. Two places may hold one: the URL of an
endpoint, which is stored without it, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from turnmix.core.credentials import KEY_REMEDY, is_key, is_secret_variable, names_key
from turnmix.core.errors import RecipeError
from turnmix.core.redaction import keep_secret, redacted

_URLS = ("teacher.endpoint", "student.server.endpoint")
_DIGESTS = ("revision", "sha256", "digest")
"""Settings of long random words that are no keys."""
_VARIABLES = {
    "student.server.environment": "student.server.inherited_environment",
    "rollouts.scaffold.environment": "rollouts.scaffold.inherited_environment",
}
"""Settings that hold variables -> those that name variables of the user's own environment."""


def refuse_keys(data: Mapping[str, Any], *, source: str) -> None:
    """Raise RecipeError, a line for each setting of `data` that holds a key; no line shows it."""
    lines = [f"{field}: {why} (in {source})" for field, why in _found("", data)]
    if lines:
        raise RecipeError("\n".join(lines))


def _found(field: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if isinstance(name, str) and _holds_key(field, name):
                yield field or "recipe", f"a name in it looks like a key: {KEY_REMEDY}"
                continue
            below = f"{field}.{name}" if field else str(name)
            if field in _VARIABLES and member and _is_key_variable(str(name), str(member)):
                yield (
                    below,
                    "a key is not stored with a run: set it in your own environment, and name it in "
                    f"{_VARIABLES[field]}",
                )
                keep_secret(str(member))
            else:
                yield from _found(below, member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _found(field, member)
    elif isinstance(value, str) and field not in _URLS and _holds_key(field, value):
        yield field, f"this looks like a key, or holds one: {KEY_REMEDY}"


def _is_key_variable(name: str, value: str) -> bool:
    return names_key(name) or is_secret_variable(name, value)


def _holds_key(field: str, text: str) -> bool:
    if redacted(text) != text:
        return True
    found = is_key(text) and not field.endswith(_DIGESTS) and not os.path.exists(text)
    if found:
        keep_secret(text)
    return found
