"""Words that a user wrote enter; whether they are, or name, a key that must not be shown leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

HIDDEN = "***"
KEY_REMEDY = (
    "a key is no setting: put it in an environment variable, such as OPENAI_API_KEY, and name another one in "
    "teacher.api_key_environment"
)

_NAME = re.compile(
    r"(^|[._\-])(api[_\-]?key|secret|(?<=\.)key|(secret|access)[_\-]key|password|passwd|credentials?|bearer|authorization|"
    r"(access|auth|api|hf|hub|bearer|wandb|github|secret)[_\-]?token|token)$",
    re.IGNORECASE,
)
_BEGINNING = re.compile(
    r"(sk|pk|rk)-[\w-]{8,}|(hf|gsk|csk|r8|nvapi|pplx|xai|fw|ghp|gho|ghs|tgp_v1|glpat|xox[abp])[_-][\w-]{8,}"
    r"|github_pat_\w{8,}|AIza[\w-]{16,}|AKIA[A-Z0-9]{12,}|eyJ[\w-]{8,}\.[\w-]+|(?i:bearer) \S{8,}"
)
_RANDOM = re.compile(r"[A-Za-z0-9_\-+/=]{32,}")


def names_key(name: str) -> bool:
    """Is this what people call a key, or a password?

    >>> names_key("teacher.api_key"), names_key("OPENAI_API_KEY"), names_key("scaffold.max_tokens")
    (True, True, False)
    """
    return _NAME.search(name) is not None


def holds_key(text: str) -> bool:
    """Does the text hold what looks like a key: a provider's own beginning, or long and random?

    >>> holds_key("sk-proj-0123456789"), holds_key("Qwen/Qwen3-4B"), holds_key("0123456789abcdef" * 2)
    (True, False, False)
    """
    if re.search(rf"(?<![\w-])({_BEGINNING.pattern})", text):
        return True
    return any(_is_random(word) for word in _RANDOM.findall(text))


def masked(value: Any) -> Any:
    """A value as an error may show it: without keys, and without a URL's user and password."""
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if isinstance(name, str) and names_key(name) else masked(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    if not isinstance(value, str):
        return value
    if "@" in value:
        return f"{HIDDEN}@{value.rpartition('@')[2]}"
    return HIDDEN if holds_key(value) else value


def masked_word(word: str) -> str:
    """One word of a command line, `key=value` or an option, as an error may show it."""
    name, equals, value = word.partition("=")
    if not equals:
        return str(masked(word))
    return f"{name}={HIDDEN if names_key(name) and value else masked(value)}"


def _is_random(word: str) -> bool:
    """Paths, names and digests are long too; digits amid all letters, without a slash, are seldom words."""
    changes = sum(one.isdigit() != other.isdigit() for one, other in pairwise(word))
    is_digest = re.fullmatch(r"[0-9a-f]+", word) is not None
    return "/" not in word and not is_digest and any(map(str.isalpha, word)) and changes >= 6
