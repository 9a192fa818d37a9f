"""A policy behind any OpenAI-compatible chat-completions endpoint.

In: a state. Out: the action that the endpoint's model takes in it. Requests are retried with backoff, bounded
in number at any moment, and counted. A model's malformed call, and a conversation too long for its context,
are data: an `Action` with `parse_error`. An endpoint that cannot be asked is a `TeacherError`; wrong settings
are a `UserError`.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from turnmix.core.errors import TeacherError, UserError
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.policies.endpoint_retry import (
    Fault,
    backoff_seconds,
    describe_mistake,
    remedy_for,
    retry_after_seconds,
)
from turnmix.policies.endpoint_settings import EndpointSettings, redacted_url
from turnmix.policies.endpoint_wire import (
    CONTEXT_EXCEEDED,
    MalformedAnswer,
    read_answer,
    request_seed,
    wire_messages,
)
from turnmix.policies.policy import Episode

if TYPE_CHECKING:
    from turnmix.policies.endpoint_client import EndpointClient

__all__ = ["EndpointCounters", "EndpointPolicy", "EndpointSession", "EndpointSettings"]

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


class EndpointPolicy:
    """One model at one endpoint. Its sessions hold nothing, so any number may be open."""

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        name: str = "teacher",
        generator: random.Random,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`name`: the recipe's section, named in messages. `generator`: draws the jitter of waits, which
        changes no result. `clock`: seconds since 1970; `sleep`: waits between attempts.

        Raises:
            UserError: the environment variable holds what cannot be a key.
        """
        self.name = name
        self.settings = settings
        self._generator = generator
        self._clock = clock
        self._sleep = sleep
        self._key = read_key(name, settings.api_key_environment)
        self._counters = EndpointCounters()
        self._quiet_until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: EndpointClient | None = None
        self._slots = asyncio.Semaphore(settings.max_concurrency)

    def begin(self, episode: Episode) -> EndpointSession:
        return EndpointSession(self, episode.seed)

    async def close(self) -> None:
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.close()
        self._client = None

    @property
    def counters(self) -> EndpointCounters:
        """A copy of the counters as they stand."""
        return replace(self._counters, retries=dict(self._counters.retries))

    def request_body(self, state: State, seed: int) -> dict[str, Any]:
        """The JSON of one request; `extra_body` is laid over it, and a null there takes a field away."""
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": wire_messages(state.messages),
            "tools": [tool.to_json() for tool in state.tools] or None,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_new_tokens,
            "seed": seed,
            **settings.extra_body,
        }
        return {field_name: value for field_name, value in body.items() if value is not None}

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

    async def complete(self, body: Mapping[str, Any]) -> Action:
        """The model's action, after as many attempts as it takes.

        Raises:
            UserError: the endpoint refuses the settings.
            TeacherError: no attempt was answered.
        """
        settings = self.settings
        attempt = 1
        while not isinstance(outcome := await self.attempt(body), Action):
            if outcome.remedy == "context" and not self._is_first_contact(body):
                self._counters.context_exceeded += 1
                return Action(message=Message(role="assistant", content=""), parse_error=CONTEXT_EXCEEDED)
            # Until something was answered, a refusal is about the settings. Later it is about this one
            # conversation (a content policy, a template that refuses it), which must not end the run.
            about_settings = outcome.remedy == "state" and not self._counters.answers
            if about_settings or outcome.remedy in ("user", "context"):
                raise UserError(self.user_mistake(outcome))
            if outcome.remedy == "state" or attempt == settings.max_attempts:
                self._counters.failures += 1
                raise TeacherError(
                    f"{self.name} {settings.model!r} at {redacted_url(settings.endpoint)} gave no answer in "
                    f"{attempt} attempt{'s' if attempt > 1 else ''}; the last: {outcome.detail}"
                )
            retries = self._counters.retries
            retries[outcome.cause] = retries.get(outcome.cause, 0) + 1
            await self._sleep(self._delay(attempt, outcome))
            attempt += 1
        return outcome

    def _is_first_contact(self, body: Mapping[str, Any]) -> bool:
        """Nothing was answered yet, and this is a mere prompt: too long for it means wrong settings."""
        return not self._counters.answers and all(
            message["role"] != "assistant" for message in body["messages"]
        )

    async def attempt(self, body: Mapping[str, Any], *, timeout: float | None = None) -> Action | Fault:
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
                "POST", "/chat/completions", body, timeout=timeout or self.settings.timeout_seconds
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
            action = read_answer(reply.body)
        except MalformedAnswer as error:
            return Fault(remedy="retry", cause=error.cause, detail=f"{error}: {reply.excerpt}")
        self._counters.answers += 1
        self._counters.prompt_tokens += action.prompt_tokens or 0
        self._counters.completion_tokens += action.completion_tokens or 0
        return action

    def _delay(self, attempt: int, fault: Fault) -> float:
        backoff = backoff_seconds(
            attempt,
            base=self.settings.backoff_seconds,
            limit=self.settings.max_backoff_seconds,
            generator=self._generator,
        )
        # Jitter comes on top of what was asked for, so that not all conversations return at one moment.
        return backoff + (fault.retry_after or 0.0)

    def user_mistake(self, fault: Fault) -> str:
        """What the user has to change: the field, its value and the fix."""
        return describe_mistake(fault, self.settings, name=self.name, key_is_set=self._key is not None)


def read_key(name: str, variable: str) -> SecretStr | None:
    key = os.environ.get(variable, "").strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"environment variable {variable} ({name}.api_key_environment) holds characters that no key has; "
            "set it to the key alone"
        )
    return SecretStr(key)


class EndpointSession:
    """An endpoint's model in one trajectory. The whole conversation goes with every request."""

    def __init__(self, policy: EndpointPolicy, seed: int) -> None:
        self._policy = policy
        self._seed = seed

    async def look(self) -> None:
        """The model sees the messages alone."""

    async def act(self, state: State) -> Action:
        body = self._policy.request_body(state, request_seed(self._seed, state))
        return await self._policy.complete(body)

    async def close(self) -> None:
        """Nothing is held."""
