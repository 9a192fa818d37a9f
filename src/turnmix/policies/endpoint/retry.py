"""What to do when an endpoint did not answer: whose fault it was, and how long to wait.

In: a status and a body, a Retry-After header, an attempt's number. Out: a `Fault`, seconds, a message.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime

from turnmix.policies.endpoint.settings import EndpointSettings, redacted_url
from turnmix.policies.endpoint.sorting import Remedy, is_about_key

TIMEOUT = "timeout"
"""The cause where no whole answer came in time."""
_SAID_WAIT = re.compile(
    r"(?:retry.?delay\W+|try again in |retry (?:after|in) )(?:(\d+)h)?(?:(\d+)m(?!s))?"
    r"(?:(\d+(?:\.\d+)?) ?(ms|s\b|sec))?",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(
    r"support.{0,9}(\btools?\b|function.call|tool.(use|call))|\btools?\b.{0,30}(not|n't|un).{0,12}(support|enabled)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One attempt that gave no answer."""

    remedy: Remedy
    cause: str
    """A short name to count by, such as `429` or `timeout`."""
    detail: str
    """One line for a person, without secrets."""
    retry_after: float | None = None
    """Seconds the endpoint asked to be left alone."""
    location: str | None = None
    """Where it redirects to, without a query."""


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds asked for by Retry-After, a number or an HTTP date; None when absent or unreadable.

    A date counts from the server's own Date header where there is one, so that clocks need not agree.

    >>> retry_after_seconds({"retry-after": "1.5"}, now=0.0)
    1.5
    >>> retry_after_seconds({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=40.0)
    20.0
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    until = _timestamp(value)
    if until is None:
        return None
    server_now = _timestamp(headers.get("date", ""))
    return max(0.0, until - (now if server_now is None else server_now))


def said_wait_seconds(text: str) -> float | None:
    """Seconds that the words of a refusal ask for; None: they name none.

    >>> said_wait_seconds('"retryDelay": "34s"'), said_wait_seconds("Please try again in 1m12.5s.")
    (34.0, 72.5)
    >>> said_wait_seconds("Please try again in 250ms"), said_wait_seconds("slow down")
    (0.25, None)
    """
    found = _SAID_WAIT.search(text)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, unit = found.groups()
    last = float(seconds or 0) / (1000 if unit == "ms" else 1)
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes or 0) + last


def _timestamp(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def backoff_seconds(attempt: int, *, base: float, limit: float, generator: random.Random) -> float:
    """Exponential backoff with full jitter: uniform up to min(limit, base·2^(attempt-1))."""
    return generator.uniform(0.0, min(limit, base * 2.0 ** min(attempt - 1, 60)))


def describe_mistake(
    fault: Fault, settings: EndpointSettings, *, name: str, path: str, key_is_set: bool
) -> str:
    """What the user has to change: the field, its value and the fix."""
    endpoint = f"{name}.endpoint {redacted_url(settings.endpoint)}"
    model = f"{name}.model {settings.model!r}"
    variable = f"environment variable {settings.api_key_environment} ({name}.api_key_environment)"
    if settings.api_key_environment is None:
        variable = f"the variable that {name}.api_key_environment names"
    if fault.remedy == "context":
        mistake = (
            f"{name}.max_new_tokens {settings.max_new_tokens} leaves no room for a prompt in the context of "
            f"{model}; lower it"
        )
    elif fault.remedy == "wait":
        mistake = (
            f"{endpoint} let no request through for {settings.max_throttled_seconds:g} s "
            f"({name}.max_throttled_seconds): its quota is used up; go on when it is there again"
        )
    elif fault.location is not None:
        mistake = f"{endpoint} redirects to {fault.location}; set {name}.endpoint to the base URL there"
    elif fault.cause == "407":
        mistake = (
            f"the proxy on the way to {endpoint} wants a user and a password; put them into its variable"
        )
    elif fault.cause in ("401", "403") or is_about_key(fault.detail):
        state = "holds a key that is refused" if key_is_set else "is not set"
        mistake = f"{variable} {state}; set it to a key for {endpoint}"
    elif fault.remedy == "user":
        mistake = f"{variable} holds a key whose account at {endpoint} has no credit left; add some"
    elif _NO_TOOLS.search(fault.detail):
        mistake = (
            f"{endpoint} takes no tools for {model}; choose a model that calls tools, or set "
            "scaffold.tool_calls to text"
        )
    elif fault.cause in ("400", "422") and re.search(r"max_\w*tokens", fault.detail):
        mistake = f"{endpoint} refuses {name}.max_new_tokens {settings.max_new_tokens} for {model}; lower it"
    elif fault.cause in ("400", "413", "422", "451"):
        mistake = (
            f"{endpoint} refuses the request for {model}; change the field it names, or remove one (null in "
            f"{name}.extra_body)"
        )
    else:
        mistake = (
            f"{endpoint} does not serve {model} at {path}; check the name, and the base URL (most end in /v1)"
        )
    return f"{mistake}. It said: {fault.detail}"
