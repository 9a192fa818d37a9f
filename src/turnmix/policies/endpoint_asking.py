"""Asking one path of an endpoint: requests are retried with backoff, bounded in number at any moment, and counted.

In: the JSON of a request. Out: what `read` makes of the answer's body. An endpoint that cannot be asked is an
error of the kind that the asker was given; wrong settings are a `UserError`.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import SecretStr

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.policies.endpoint_retry import (
    Fault,
    backoff_seconds,
    describe_mistake,
    remedy_for,
    retry_after_seconds,
)
from turnmix.policies.endpoint_settings import EndpointSettings, redacted_url
from turnmix.policies.endpoint_wire import MalformedAnswer

if TYPE_CHECKING:
    from turnmix.policies.endpoint_client import EndpointClient

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class EndpointCounters:
    """What an endpoint was asked and what it cost, since the policy was made."""

    requests: int = 0
    """Attempts sent, retries among them."""
    answers: int = 0
    retries: dict[str, int] = field(default_factory=dict)
    """Attempts that were repeated, by cause: `429`, `500`, `timeout`, `connect`, `connection_lost`, …"""
    failures: int = 0
    """Actions given up after all attempts."""
    context_exceeded: int = 0
    """Conversations too long for the model."""
    prompt_tokens: int = 0
    """As far as the endpoint reports usage; so too below."""
    completion_tokens: int = 0


class Counted(Protocol):
    """An answer that says what it cost, where the endpoint does."""

    @property
    def prompt_tokens(self) -> int | None: ...

    @property
    def completion_tokens(self) -> int | None: ...


Answer = TypeVar("Answer", bound=Counted)


class EndpointAsker(Generic[Answer]):
    """Asks in one event loop at a time; any number of conversations may ask at once."""

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        name: str,
        path: str,
        read: Callable[[bytes], Answer],
        failure: type[InfrastructureError],
        generator: random.Random,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
        before_attempt: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """
        name: the recipe's section, named in messages
        path: appended to the endpoint's base URL
        read: raises MalformedAnswer for what is no answer
        failure: raised when no attempt was answered
        generator: draws the jitter of waits, which changes no result
        clock, sleep: seconds since 1970, and what waits between attempts
        before_attempt: awaited before each attempt

        Raises:
            UserError: the environment variable holds what cannot be a key.
        """
        self.settings = settings
        self._name = name
        self._path = path
        self._read = read
        self._failure = failure
        self._generator = generator
        self._clock = clock
        self._sleep = sleep
        self._before_attempt = before_attempt
        self._key = read_key(name, settings.api_key_environment)
        self._counters = EndpointCounters()
        self._quiet_until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: EndpointClient | None = None
        self._slots = asyncio.Semaphore(settings.max_concurrency)

    @property
    def counters(self) -> EndpointCounters:
        """A copy of the counters as they stand."""
        return replace(self._counters, retries=dict(self._counters.retries))

    async def close(self) -> None:
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.close()
        self._client = None

    def client(self) -> EndpointClient:
        """The connections of the running event loop: those of a loop that has ended cannot be used again."""
        from turnmix.policies.endpoint_client import EndpointClient

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            settings = self.settings
            self._client = EndpointClient(settings.endpoint, self._key, max_idle=settings.max_concurrency)
            self._slots = asyncio.Semaphore(settings.max_concurrency)
            self._loop = loop
        return self._client

    async def ask(
        self, body: Callable[[], Mapping[str, Any]], *, is_mere_prompt: bool = False
    ) -> Answer | None:
        """The answer, after as many attempts as it takes; None: the conversation is too long for the model.

        body: makes the JSON of each attempt
        is_mere_prompt: nothing was said in the conversation yet, so too long means wrong settings

        Raises:
            UserError: the endpoint refuses the settings.
            InfrastructureError: no attempt was answered; of the kind that the asker was given.
        """
        settings = self.settings
        attempt = 1
        while isinstance(outcome := await self._next_attempt(body), Fault):
            # Until something was answered, a refusal is about the settings. Later it is about this one
            # conversation (a content policy, a firewall, a template that refuses it), which must not end the run.
            is_first_contact = not self._counters.answers
            if outcome.remedy == "context" and not (is_first_contact and is_mere_prompt):
                self._counters.context_exceeded += 1
                return None
            about_settings = outcome.remedy == "state" and is_first_contact
            if about_settings or outcome.remedy in ("user", "context"):
                raise UserError(self.user_mistake(outcome))
            if outcome.remedy == "state" or attempt == settings.max_attempts:
                self._counters.failures += 1
                raise self._failure(
                    f"{self._name} {settings.model!r} at {redacted_url(settings.endpoint)} gave no answer in "
                    f"{attempt} attempt{'s' if attempt > 1 else ''}; the last: {outcome.detail}"
                )
            retries = self._counters.retries
            retries[outcome.cause] = retries.get(outcome.cause, 0) + 1
            await self._sleep(self._delay(attempt, outcome))
            attempt += 1
        return outcome

    async def attempt(self, body: Mapping[str, Any], *, timeout: float | None = None) -> Answer | Fault:
        """One request, once a slot is free.

        The slot is given back before any backoff: one throttled conversation must not keep the others from
        asking. A Retry-After speaks to all of them: it is kept for the policy and waited for inside the slot.
        """
        client = self.client()
        async with self._slots:
            pause = min(self._quiet_until - self._clock(), self.settings.max_retry_after_seconds)
            if pause > 0:
                await self._sleep(pause)
            self._counters.requests += 1
            reply = await client.send(
                "POST", self._path, body, timeout=timeout or self.settings.timeout_seconds
            )
        if isinstance(reply, Fault):
            return reply
        if reply.status // 100 != 2:
            asked = retry_after_seconds(reply.headers, self._clock())
            if asked is not None:
                asked = min(asked, self.settings.max_retry_after_seconds)
                self._quiet_until = max(self._quiet_until, self._clock() + asked)
            return Fault(
                remedy=remedy_for(reply.status, reply.body.decode("utf-8", "replace")),
                cause=str(reply.status),
                detail=f"HTTP {reply.status}: {reply.excerpt}",
                retry_after=asked,
            )
        try:
            answer = self._read(reply.body)
        except MalformedAnswer as error:
            return Fault(remedy="retry", cause=error.cause, detail=f"{error}: {reply.excerpt}")
        self._counters.answers += 1
        self._counters.prompt_tokens += answer.prompt_tokens or 0
        self._counters.completion_tokens += answer.completion_tokens or 0
        return answer

    async def _next_attempt(self, body: Callable[[], Mapping[str, Any]]) -> Answer | Fault:
        if self._before_attempt is not None:
            await self._before_attempt()
        return await self.attempt(body())

    def user_mistake(self, fault: Fault) -> str:
        """What the user has to change: the field, its value and the fix."""
        return describe_mistake(
            fault, self.settings, name=self._name, path=self._path, key_is_set=self._key is not None
        )

    def _delay(self, attempt: int, fault: Fault) -> float:
        backoff = backoff_seconds(
            attempt,
            base=self.settings.backoff_seconds,
            limit=self.settings.max_backoff_seconds,
            generator=self._generator,
        )
        # Jitter comes on top of what was asked for, so that not all conversations return at one moment.
        return backoff + (fault.retry_after or 0.0)


def read_key(name: str, variable: str) -> SecretStr | None:
    """The key in an environment variable; None where there is none. Raises UserError for what is no key."""
    key = os.environ.get(variable, "").strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"environment variable {variable} ({name}.api_key_environment) holds characters that no key has; "
            "set it to the key alone"
        )
    return SecretStr(key)
