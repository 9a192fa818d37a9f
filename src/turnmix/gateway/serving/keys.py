"""Keys of sessions. In: what a client shows. Out: whether it is the right one; of keys, digests alone are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

_PREFIX = "tmx_"
_BEARER = "bearer "


def new_key() -> str:
    """What a session's requests are known by, wherever they are sent."""
    return f"{_PREFIX}{secrets.token_urlsafe(32)}"


def new_route_token() -> str:
    """What makes a session's path its own, for scaffolds that cannot set headers."""
    return secrets.token_urlsafe(24)


def digest_of(key: str) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def is_key(shown: str, digest: str) -> bool:
    """Is this the key of that digest? It takes as long whatever is shown."""
    return hmac.compare_digest(digest_of(shown), digest)


def shown_keys(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that a request shows, as OpenAI's clients, Anthropic's and Azure's do."""
    found = []
    bearer = headers.get("authorization", "")
    if bearer[: len(_BEARER)].lower() == _BEARER:
        found.append(bearer[len(_BEARER) :].strip())
    elif bearer:
        found.append(bearer)
    found += [headers[name] for name in ("x-api-key", "api-key") if headers.get(name)]
    return tuple(found)
