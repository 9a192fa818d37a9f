"""What a user configures of an endpoint. The key is no setting: it stays in the environment.

In: a recipe's section. Out: `EndpointSettings`. Credentials in the URL are shown nowhere and stored nowhere.
"""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar
from urllib.parse import unquote, unquote_plus, urlsplit, urlunsplit

from pydantic import ConfigDict, Field, JsonValue, SecretStr, field_serializer, field_validator

from turnmix.core.credentials import holds_key, masked
from turnmix.core.errors import UserError
from turnmix.core.redaction import HIDDEN, keep_secret, redacted
from turnmix.core.settings import Settings

_OWN_FIELDS = frozenset({"model", "messages", "tools", "stream", "n"})
_HARMLESS = frozenset({"api-version", "version", "alt"})
"""Of a URL's query: what may be shown and stored."""


def redacted_url(url: str) -> str:
    """The URL without user, password, query and fragment, and without a part of its path that is a key.

    >>> redacted_url("https://me:secret@host:8000/v1?key=secret")
    'https://***@host:8000/v1'
    >>> redacted_url("https://host/sk-proj-0123456789/v1#secret")
    'https://host/***/v1'
    """
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    netloc = f"{HIDDEN}@{host}" if credentials else host
    return redacted(urlunsplit((parts.scheme, netloc, _shown_path(parts.path), "", "")))


def _shown_path(path: str) -> str:
    return "/".join(HIDDEN if holds_key(unquote(part)) else part for part in path.split("/"))


def secrets_of(url: str) -> tuple[str, ...]:
    """What of a URL nobody may see: its password, or its user where there is none; what a query or a fragment holds,
    but for a version; a key in its path.

    >>> secrets_of("https://me:hush@host/v1?key=secret&api-version=2024-10-21")
    ('hush', 'secret')
    >>> secrets_of("https://ghp_0123456789@host/sk-proj-0123456789?flag#another")
    ('ghp_0123456789', 'another', 'sk-proj-0123456789')
    """
    parts = urlsplit(url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    found = [user if not password or holds_key(user) else "", password]
    found += [unquote_plus(piece.rpartition("=")[2]) for piece in parts.fragment.split("&")]
    for piece in parts.query.split("&"):
        name, equals, value = piece.partition("=")
        # A flag such as ?debug=1 would hide every 1 in what the server says.
        if len(held := unquote_plus(value if equals else name)) > 3 and not _is_shown(piece):
            found.append(held)
        if equals and holds_key(unquote_plus(name)):
            found.append(unquote_plus(name))
    found += [unquote(part) for part in parts.path.split("/") if holds_key(unquote(part))]
    return tuple(dict.fromkeys(secret for secret in found if secret))


def _is_shown(piece: str) -> bool:
    """May this part of a query be shown and stored? A version, or a flag, which is a short word."""
    name, equals, value = piece.partition("=")
    if holds_key(unquote_plus(piece)):
        return False
    return (
        name.lower() in _HARMLESS or not value
        if equals
        else re.fullmatch(r"[A-Za-z_-]{0,8}", name) is not None
    )


def _shown_query(piece: str) -> str:
    name, equals, _ = piece.partition("=")
    is_name_shown = equals and not holds_key(unquote_plus(name))
    return piece if _is_shown(piece) else f"{name}={HIDDEN}" if is_name_shown else HIDDEN


def checked_url(url: str) -> str:
    """The base URL of an endpoint, less a last slash. Raises ValueError for what is none."""
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        shown = HIDDEN if re.fullmatch(r"[\w+=%-]{20,}", url) else masked(url)
        raise ValueError(
            f"{shown!r}: not an http:// or https:// URL with a host and, if any, a port from 1 to 65535; give one "
            "such as http://localhost:8000/v1"
        )
    if parts.path.endswith("/chat/completions"):
        base = redacted_url(url).removesuffix("/chat/completions")
        raise ValueError(f"give the base URL {base}: /chat/completions is appended to it")
    if HIDDEN in url:
        raise ValueError("the URL's credentials were not stored; give the endpoint again, with them")
    for secret in secrets_of(url):
        keep_secret(secret)
    return url


def storable_url(url: str) -> str:
    """The URL as it may be written down: its credentials hidden, the rest of it whole.

    >>> storable_url("https://host/v1?key=secret&api-version=2024-10-21")
    'https://host/v1?key=***&api-version=2024-10-21'
    """
    query = "&".join(map(_shown_query, urlsplit(url).query.split("&")))
    return urlunsplit(urlsplit(redacted_url(url))._replace(query=redacted(query)))


def check_names_variable(name: str) -> None:
    """Raise ValueError for what is no name of an environment variable, and may be a key."""
    is_name = re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is not None
    # Variables are named in capitals; keys, where letters and digits are all they have, are not.
    is_like_key = holds_key(name) or (len(name) >= 16 and name != name.upper() and re.search(r"\d", name))
    if not is_name or (is_like_key and name not in os.environ):
        raise ValueError(
            "must be the name of an environment variable, such as OPENAI_API_KEY, and not the key itself"
        )


def read_key(name: str, variable: str | None) -> SecretStr | None:
    """The key in an environment variable, from now on shown nowhere; None: there is none. Raises UserError for what is
    no key."""
    key = "" if variable is None else os.environ.get(variable, "").strip()
    keep_secret(key)
    if not key:
        return None
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"environment variable {variable} ({name}.api_key_environment) holds characters that no key has; "
            "set it to the key alone"
        )
    return SecretStr(key)


class AskingSettings(Settings):
    """How an endpoint is asked. Its URL, the field `endpoint` of each subclass, may hold credentials."""

    # Also where pydantic itself writes an error down.
    model_config = ConfigDict(hide_input_in_errors=True)

    secret_fields: ClassVar[frozenset[str]] = frozenset(
        {"endpoint", "extra_body", "environment", "api_key_environment"}
    )

    api_key_environment: str | None = Field(default="OPENAI_API_KEY", min_length=1)
    """The environment variable that holds the key. It may be unset for a server that asks for none; null: none is
    sent."""
    max_concurrency: int = Field(default=32, ge=1)
    """Requests under way at one moment."""
    timeout_seconds: float = Field(default=300.0, gt=0)
    """For one whole request, from connecting to the last byte."""
    max_attempts: int = Field(default=6, ge=1)
    """Attempts at one answer before the endpoint counts as unreachable."""
    backoff_seconds: float = Field(default=1.0, ge=0)
    """Longest wait after the first failed attempt; it doubles with each, and the wait is uniform below it."""
    max_backoff_seconds: float = Field(default=30.0, ge=0)
    """Where the doubling stops."""
    max_retry_after_seconds: float = Field(default=120.0, ge=0)
    """The longest Retry-After that is honoured in full."""
    max_throttled_seconds: float = Field(default=900.0, ge=0)
    """A rate limit (429) is waited out, by all conversations together, however many attempts that takes. A quota
    that lets nothing through for so long is used up: the run stops, and can be gone on with."""

    @field_validator("api_key_environment")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        if name is not None:
            check_names_variable(name)
            keep_secret(os.environ.get(name, "").strip())
        return name

    @field_validator("endpoint", check_fields=False)
    @classmethod
    def _check_endpoint(cls, url: str | None) -> str | None:
        return None if url is None else checked_url(url)

    @field_serializer("endpoint", check_fields=False)
    def _store_endpoint(self, url: str | None) -> str | None:
        return None if url is None else storable_url(url)

    def __repr_args__(self) -> Any:
        return [
            (key, storable_url(value) if key == "endpoint" and value else value)
            for key, value in super().__repr_args__()
        ]


class EndpointSettings(AskingSettings):
    """An OpenAI-compatible chat-completions endpoint and how to ask it."""

    endpoint: str
    """The base URL, such as http://localhost:8000/v1; `/chat/completions` is appended."""
    model: str = Field(min_length=1)
    """The model's name at the endpoint."""
    temperature: float | None = Field(default=0.7, ge=0)
    """Sampling temperature; null leaves it to the server."""
    top_p: float | None = Field(default=0.9, gt=0, le=1)
    """Nucleus sampling; null leaves it to the server."""
    max_new_tokens: int = Field(default=4096, ge=1)
    """Tokens one answer may have."""
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of each request, laid over the usual ones; null removes one. Stored with the run."""

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(_OWN_FIELDS & fields.keys()):
            raise ValueError(f"{', '.join(taken)} cannot be set here: the policy sets or needs it otherwise")
        return fields
