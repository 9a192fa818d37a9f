"""What a user configures of an endpoint. The key is no setting: it stays in the environment.

In: a recipe's section. Out: `EndpointSettings`. Credentials in the URL are shown nowhere and stored nowhere.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import ConfigDict, Field, JsonValue, field_serializer, field_validator

from turnmix.credentials import masked
from turnmix.settings import Settings

_OWN_FIELDS = frozenset({"model", "messages", "tools", "stream", "n"})
_HIDDEN = "***"
_HARMLESS = frozenset({"api-version", "version", "alt"})
"""Of a URL's query: what may be shown and stored."""


def redacted_url(url: str) -> str:
    """The URL without user, password, query and fragment.

    >>> redacted_url("https://me:secret@host:8000/v1?key=secret")
    'https://***@host:8000/v1'
    """
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{_HIDDEN}@{host}" if credentials else host, parts.path, "", ""))


def secrets_of(url: str) -> tuple[str, ...]:
    """What of a URL nobody may see: its password, and what a query holds, but for a version.

    >>> secrets_of("https://me:hush@host/v1?key=secret&api-version=2024-10-21")
    ('hush', 'secret')
    """
    parts = urlsplit(url)
    query = [value for name, value in parse_qsl(parts.query) if name.lower() not in _HARMLESS]
    # A flag such as ?debug=1 would hide every 1 in what the server says.
    secrets = [unquote(parts.password or ""), *(value for value in query if len(value) > 3)]
    return tuple(dict.fromkeys(secret for secret in secrets if secret))


def checked_url(url: str) -> str:
    """The base URL of an endpoint, less a last slash. Raises ValueError for what is none."""
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            f"{masked(url.partition('?')[0])!r}: not an http:// or https:// URL with a host and, if "
            "any, a port from 1 to 65535; give one such as http://localhost:8000/v1"
        )
    if parts.path.endswith("/chat/completions"):
        base = redacted_url(url).removesuffix("/chat/completions")
        raise ValueError(f"give the base URL {base}: /chat/completions is appended to it")
    if parts.netloc.startswith(f"{_HIDDEN}@") or f"={_HIDDEN}" in parts.query:
        raise ValueError("the URL's credentials were not stored; give the endpoint again, with them")
    return url


def storable_url(url: str) -> str:
    """The URL as it may be written down: its credentials hidden, the rest of it whole.

    >>> storable_url("https://host/v1?key=secret&api-version=2024-10-21")
    'https://host/v1?key=***&api-version=2024-10-21'
    """
    parts = urlsplit(url)
    query = "&".join(
        f"{name}={value if name.lower() in _HARMLESS else _HIDDEN}" if value else name
        for name, _, value in (part.partition("=") for part in parts.query.split("&"))
    )
    return urlunsplit(urlsplit(redacted_url(url))._replace(query=query))


class AskingSettings(Settings):
    """How an endpoint is asked. Its URL, the field `endpoint` of each subclass, may hold credentials."""

    # Also where pydantic itself writes an error down.
    model_config = ConfigDict(hide_input_in_errors=True)

    secret_fields: ClassVar[frozenset[str]] = frozenset({"endpoint", "extra_body", "environment"})

    api_key_environment: str = Field(default="OPENAI_API_KEY", min_length=1)
    """The environment variable that holds the key. It may be unset for a server that asks for none."""
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
