"""In: words that a user wrote. Out: whether they are, or name, a key that must not be shown.

`core.redaction` hides the keys that are known. Here it is guessed: by the name of a setting or a variable, by how
providers begin their keys, by where passwords stand in a URL. A guess never changes what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

from turnmix.core.redaction import HIDDEN, keep_secret, redacted

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
_BEGINS = re.compile(rf"(?<![\w-])({_BEGINNING.pattern})")
_VARIABLE = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|_PAT|CREDENTIALS?|_AUTH)S?$", re.IGNORECASE
)
_PUBLIC_VARIABLES = frozenset({"GPG_KEY"})
"""Of those that `_VARIABLE` names: what Python's images say of its releases."""
_USER_PART = re.compile(r"(?<=://)([^\s/@'\"]+)(?=@)")
_KEY_IN_QUERY = re.compile(
    r"([?&#;][\w.\-%]*(?:key|token|secret|passw|sig|auth|credential)[\w.\-%]*=)[^&\s'\")]{4,}", re.IGNORECASE
)
_ENCODED = re.compile(r"[^\s=/?&#'\"]*%[0-9a-fA-F]{2}[^\s=/?&#'\"]*")
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
    if "%" in text:
        text = f"{text} {unquote(text)}"
    if _BEGINS.search(text):
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
        behind = re.split(r"[?#]", value.rpartition("@")[2])[0]
        return f"{HIDDEN}@{HIDDEN if holds_key(behind) else redacted(behind)}"
    return HIDDEN if holds_key(value) else redacted(value)


def masked_text(text: str) -> str:
    """Words for a person, without what in them looks like a key or stands where a URL holds one.

    >>> masked_text("no model sk-proj-0123456789 at https://me:hush@host/v1?api-key=hush")
    'no model *** at https://***@host/v1?api-key=***'
    >>> masked_text("runs/sk-learn-experiments holds no run")
    'runs/sk-learn-experiments holds no run'
    """
    text = _USER_PART.sub(HIDDEN, text)
    text = _KEY_IN_QUERY.sub(rf"\1{HIDDEN}", text)
    text = _ENCODED.sub(lambda found: HIDDEN if holds_key(found[0]) else found[0], text)
    return _BEGINS.sub(lambda found: HIDDEN if _is_odd(found[0]) else found[0], text)


def is_key(value: str) -> bool:
    """Is this surely a key, or a URL that holds one, and nothing else that a setting may be?

    >>> [is_key(each) for each in ("sk-proj-0123456789", "models/sk-learn-forest", "https://me:hush@host/file")]
    [True, False, True]
    >>> is_key("ssh://somebody@host")
    False
    >>> [is_key(each) for each in ("0a1b2c3d4e5f60718293a4b5c6d7e8f9", "checkpoint-2024-11-26-3b-lr1e5")]
    [True, False]
    """
    if any(_is_odd(found[0]) for found in _BEGINS.finditer(value)):
        return True
    if "://" in value and (any(_secrets_in_urls(value)) or _KEY_IN_QUERY.search(value)):
        return True
    return (
        re.fullmatch(r"[A-Za-z0-9]{32,}", value) is not None and _is_odd(value) and _num_changes(value) >= 6
    )


def keep_secrets_of(environment: Mapping[str, str]) -> None:
    """Hide from now on what the variables of an environment hold that are named as keys are, and passwords in URLs."""
    for name, value in environment.items():
        if is_secret_variable(name, value):
            keep_secret(value)
        for secret in _secrets_in_urls(value):
            keep_secret(secret)
            keep_secret(unquote(secret))


def _secrets_in_urls(text: str) -> Iterator[str]:
    """The passwords in URLs, and users that are no names."""
    for found in _USER_PART.finditer(text):
        user, _, password = found[0].partition(":")
        if password:
            yield password
        if len(user) >= 16 and _is_odd(user):
            yield user


def is_secret_variable(name: str, value: str) -> bool:
    """Does a variable of the environment hold a key, by its name and the look of its value?

    >>> is_secret_variable("AZURE_OPENAI_KEY", "0a1b2c3d4e5f60718293"), is_secret_variable("DB_PASSWORD", "postgres")
    (True, False)
    """
    if _VARIABLE.search(name) is None or name in _PUBLIC_VARIABLES:
        return False
    # A password such as `postgres` would be cut out of innocent text.
    return len(value) >= 16 and _is_odd(value) and not re.search(r"\s|^[/~.]", value)


def masked_word(word: str) -> str:
    """One word of a command line, `key=value` or an option, as an error may show it."""
    name, equals, value = word.partition("=")
    if not equals:
        return str(masked(word))
    return f"{name}={HIDDEN if names_key(name) and value else masked(value)}"


def _is_random(word: str) -> bool:
    """Paths, names and digests are long too; digits amid all letters, without a slash, are seldom words."""
    is_digest = re.fullmatch(r"[0-9a-f]+", word) is not None
    return "/" not in word and not is_digest and any(map(str.isalpha, word)) and _num_changes(word) >= 6


def _num_changes(word: str) -> int:
    """From letters to digits, and back."""
    return sum(one.isdigit() != other.isdigit() for one, other in pairwise(word))


def _is_odd(word: str) -> bool:
    """Letters and digits, or letters small and large behind the first: no words of a language."""
    has_letters = any(map(str.isalpha, word))
    return has_letters and (
        any(map(str.isdigit, word)) or word[1:] not in (word[1:].lower(), word[1:].upper())
    )
