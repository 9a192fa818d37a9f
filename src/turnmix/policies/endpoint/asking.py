"""Asking one path of an endpoint: requests are retried with backoff, bounded in number at any moment, and counted.

In: the JSON of a request. Out: what `read` makes of the answer's body. An endpoint that cannot be asked is an
error of the kind that the asker was given; wrong settings are a `UserError`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import SecretStr

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.policies.endpoint.congestion import CongestionWindow
from turnmix.policies.endpoint.counters import EndpointCounters, count
from turnmix.policies.endpoint.dialect import Dialect
from turnmix.policies.endpoint.retry import (
    TIMEOUT,
    Fault,
    backoff_seconds,
    describe_mistake,
    retry_after_seconds,
    said_wait_seconds,
)
from turnmix.policies.endpoint.settings import EndpointSettings, read_key, redacted_url
from turnmix.policies.endpoint.sorting import remedy_for, said_status
from turnmix.policies.endpoint.throttle import Sleep, Throttle
from turnmix.policies.endpoint.wire import MalformedAnswer

if TYPE_CHECKING:
    from turnmix.policies.endpoint.client import EndpointClient, Guard, Reply


class Counted(Protocol):
    """An answer that says what it cost, where the endpoint does."""

    @property
    def prompt_tokens(self) -> int | None: ...

    @property
    def completion_tokens(self) -> int | None: ...

    @property
    def cached_tokens(self) -> int | None: ...


class RefusedSettings(UserError):
    """What the endpoint refuses is for the user to change; `fault` is its refusal."""

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(message)
        self.fault = fault


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
        dialect: Dialect | None = None,
        key: SecretStr | None = None,
        guard: Guard | None = None,
    ) -> None:
        """
        name: the recipe's section, named in messages
        path: appended to the endpoint's base URL
        read: raises MalformedAnswer for what is no answer
        failure: raised when no attempt was answered
        generator: draws the jitter of waits, which changes no result
        clock, sleep: seconds since 1970, and what waits between attempts
        before_attempt: awaited before each attempt
        dialect: what is known of the endpoint, which other askers of it may share
        key: sent where the settings name no variable that holds one
        guard: says before each request why nothing may be sent

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
        self._key = read_key(name, settings.api_key_environment) or key
        self._guard = guard
        self._counters = EndpointCounters()
        self._dialect = dialect or Dialect()
        self._throttle = Throttle(settings, generator=generator, clock=clock, sleep=sleep)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: EndpointClient | None = None
        self._window = CongestionWindow(settings.max_concurrency, clock=clock)

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
        from turnmix.policies.endpoint.client import EndpointClient

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            settings = self.settings
            self._client = EndpointClient(
                settings.endpoint, self._key, max_idle=settings.max_concurrency, guard=self._guard
            )
            self._window = CongestionWindow(settings.max_concurrency, clock=self._clock)
            self._loop = loop
        return self._client

    async def ask(
        self,
        body: Callable[[], Mapping[str, Any]],
        *,
        is_mere_prompt: bool = False,
        counters: EndpointCounters | None = None,
    ) -> Answer | None:
        """The answer, after as many attempts as it takes; None: the conversation is too long for the model.

        body: makes the JSON of each attempt
        is_mere_prompt: nothing was said in the conversation yet, so too long means wrong settings
        counters: counted in beside the asker's own

        Raises:
            UserError: the endpoint refuses the settings, or its quota is used up.
            InfrastructureError: no attempt was answered; of the kind that the asker was given.
        """
        counting = (self._counters,) if counters is None else (self._counters, counters)
        began = self._clock()
        attempt = 1
        while True:
            if self._before_attempt is not None:
                await self._before_attempt()
            sent = self._dialect.applied(body())
            # Until something was answered, a refusal is about the settings. Later it is about this one
            # conversation (a content policy, a firewall, a template that refuses it), which must not end the run.
            is_first_contact = not self._dialect.has_answered
            outcome = await self._attempt(sent, counting=counting)
            if not isinstance(outcome, Fault):
                return outcome
            if outcome.remedy == "context" and not (is_first_contact and is_mere_prompt):
                count(counting, context_exceeded=1)
                return None
            is_amended = outcome.remedy == "state" and self._dialect.learns(outcome.detail, sent, body())
            if not is_amended and self._is_final(outcome, attempt, began, is_first_contact):
                if self._is_the_users(outcome, is_first_contact):
                    raise RefusedSettings(self._user_mistake(outcome), outcome)
                count(counting, failures=1)
                raise self._failure(
                    f"{self._name} {self.settings.model!r} at {redacted_url(self.settings.endpoint)} gave no "
                    f"answer in {attempt} attempt{'s' if attempt > 1 else ''}; the last: {outcome.detail}"
                )
            for each in counting:
                each.retries[outcome.cause] = each.retries.get(outcome.cause, 0) + 1
            if not is_amended and outcome.remedy != "wait":
                await self._sleep(self._delay(attempt, outcome))
            attempt += 1

    def _is_final(self, fault: Fault, attempt: int, began: float, is_first_contact: bool) -> bool:
        """Does asking again not help?"""
        if fault.remedy == "wait":
            return self._throttle.is_used_up(since=began)
        if fault.remedy in ("state", "context"):
            return True
        if fault.remedy in ("user", "address") and is_first_contact:
            return True
        # A key that was good a moment ago may be once more; what then still refuses it does so for every request.
        return attempt >= (
            min(2, self.settings.max_attempts) if fault.remedy == "user" else self.settings.max_attempts
        )

    def _is_the_users(self, fault: Fault, is_first_contact: bool) -> bool:
        return fault.remedy in ("user", "wait", "context") or (
            is_first_contact and fault.remedy in ("state", "address")
        )

    async def _attempt(
        self, body: Mapping[str, Any], *, counting: Sequence[EndpointCounters]
    ) -> Answer | Fault:
        """The place is given back before any backoff: one conversation that fails must not keep the others from
        asking. A rate limit speaks to all of them, and is waited for in its place."""
        client = self.client()
        async with self._window:
            sent_at = await self._throttle.turn()
            count(counting, requests=1)
            reply = await client.send("POST", self._path, body, timeout=self.settings.timeout_seconds)
        outcome = reply if isinstance(reply, Fault) else self._sorted(reply)
        if isinstance(outcome, Fault):
            if outcome.cause == TIMEOUT:
                self._window.timed_out(sent_at=sent_at)
            if outcome.remedy == "wait":
                self._throttle.refused(sent_at=sent_at, asked=outcome.retry_after)
            elif outcome.retry_after is not None:
                self._throttle.hold(outcome.retry_after)
            return outcome
        self._throttle.answered()
        self._window.answered()
        self._dialect.has_answered = True
        count(
            counting,
            answers=1,
            prompt_tokens=outcome.prompt_tokens or 0,
            completion_tokens=outcome.completion_tokens or 0,
            cached_tokens=outcome.cached_tokens or 0,
        )
        return outcome

    def _sorted(self, reply: Reply) -> Answer | Fault:
        """What a response is. An error that comes as HTTP 200 is what its code says."""
        status, told = reply.status, f"HTTP {reply.status}"
        if status // 100 == 2:
            said = said_status(reply.body)
            if said is None:
                try:
                    return self._read(reply.body)
                except MalformedAnswer as error:
                    return Fault(remedy="retry", cause=error.cause, detail=f"{error}: {reply.excerpt}")
            status, told = said, f"HTTP {reply.status} with an error that means {said}"
        if reply.location is not None:
            told += f", redirected to {reply.location}"
        text = reply.body.decode("utf-8", "replace")
        asked = retry_after_seconds(reply.headers, self._clock())
        return Fault(
            remedy=remedy_for(status, text),
            cause=str(status),
            detail=f"{told}: {reply.excerpt}",
            retry_after=said_wait_seconds(text) if asked is None and status == 429 else asked,
            location=reply.location,
        )

    def _user_mistake(self, fault: Fault) -> str:
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
        return backoff + min(fault.retry_after or 0.0, self.settings.max_retry_after_seconds)
