"""What the words of a command line are: overrides (`key=value`), and names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from turnmix.core.credentials import KEY_REMEDY, holds_key, masked, masked_word, names_key
from turnmix.core.errors import UserError
from turnmix.core.terminal import tell
from turnmix.recipe.recipe import Recipe
from turnmix.recipe.setting_search import meant, setting_names, told_elsewhere

IN_HISTORY = "the shell's history now keeps it: delete it there"


def names_and_overrides(words: Sequence[str], *, at_most: int) -> tuple[list[str], list[str]]:
    """Names first, then overrides; a file whose name holds `=` is a name. A key among the values is warned of.

    Raises:
        UserError: more than `at_most` names; or what was meant as an override is not written as one.
    """
    overrides = [word for word in words if "=" in word and not _is_file(word)]
    names = [word for word in words if word not in overrides]
    if spaced := _spaced(words, overrides, is_surplus=len(names) > at_most):
        name, value = spaced
        pair = masked_word(f"{name}={value}")
        raise UserError(f"a setting is one word, key=value without spaces: write {pair!r}")
    if len(names) > at_most:
        place = words.index(names[at_most])
        raise UserError(_surplus(names[at_most], behind=words[place + 1 : place + 2]))
    for override in overrides:
        _check(override)
    return names, overrides


def setting_of_option(option: str, value: str | None) -> str | None:
    """What is said of an option that is no option, but a setting; None: it is none either."""
    name = option.lstrip("-").replace("-", "_")
    if names_key(name):
        return f"{option}: {KEY_REMEDY}; {IN_HISTORY}"
    known = setting_names(Recipe)
    found = [name] if name in known else meant(name, Recipe)
    if told := told_elsewhere(name):
        return f"{option}: {told}"
    if not found:
        return None
    shown = "VALUE" if value is None else masked(value)
    written = " or ".join(f"{each}={shown}" for each in found)
    return f"{option} is a setting, not an option: write {written}, without dashes"


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # longer than a name can be
        return False


def _spaced(words: Sequence[str], overrides: Sequence[str], *, is_surplus: bool) -> tuple[str, str] | None:
    """The key and the value of what was written `key = value`, `key= value`, `key =value`, `key: value`."""
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        after = words[place + 1] if place + 1 < len(words) else ""
        if word in ("=", ":"):
            return before or "key", after or "value"
        if word.startswith("=") and place > 1:
            return before, word[1:]
        if is_surplus and word in overrides and word.endswith("=") and after and after not in overrides:
            return word[:-1], after
    return None


def _surplus(word: str, *, behind: Sequence[str]) -> str:
    """What is said of a name too many, and of what stands behind it."""
    if (behind or word)[-1].endswith(("}", "]")) or word.endswith(("}", "]")):
        return (
            f"{masked(word)!r} is one word too many: put quotes around a setting that holds spaces, such as "
            "'teacher={kind: oracle}'"
        )
    name, _, value = word.partition(":")
    value = value or "".join(behind) or "VALUE"
    found = [name] if name in setting_names(Recipe) else meant(name, Recipe)
    if found and not _is_file(word):
        pair = masked_word(f"{found[0]}={value}")
        return f"a setting is written with an equals sign: write {pair!r}"
    return f"{masked(word)!r} is one name too many: write a setting as key=value"


def _check(override: str) -> None:
    """Refuse what is not written as an override; and a key, which is never repeated. One that is part of a setting is
    warned of."""
    name, _, value = override.partition("=")
    if name[:1] in "+~":
        raise UserError(
            f"{masked_word(override)!r}: a setting has no sign before it: write "
            f"{masked_word(override.lstrip('+~'))!r}"
        )
    if value.startswith("=") or re.search(r",(\s*$|[\w.]+=)", value):
        raise UserError(
            f"{masked_word(override)!r}: write key=value, and a space, not a comma, between two of them"
        )
    if names_key(name):
        raise UserError(f"{name}: {KEY_REMEDY}; {IN_HISTORY}")
    if name.rpartition(".")[2].endswith("_environment") and holds_key(value):
        raise UserError(
            f"{name}: this is the name of an environment variable, such as OPENAI_API_KEY, and what was given "
            f"looks like the key itself; {IN_HISTORY}"
        )
    if holds_key(value) or _holds_password(value):
        tell(f"turnmix: warning: {name} holds what looks like a key; {IN_HISTORY}")


def _holds_password(value: str) -> bool:
    """Is this a URL with a password in it?"""
    address = value.partition("://")[2].partition("/")[0]
    return ":" in address.rpartition("@")[0]
