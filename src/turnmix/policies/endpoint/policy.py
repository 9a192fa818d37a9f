"""A policy behind any OpenAI-compatible chat-completions endpoint.

In: a state. Out: the action that the endpoint's model takes in it. A model's malformed call, and a conversation
too long for its context, are data: an `Action` with `parse_error`. An endpoint that cannot be asked is a
`TeacherError`; wrong settings are a `UserError`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from turnmix.core.errors import TeacherError
from turnmix.core.message import Message
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Action, State
from turnmix.core.usage import Usage
from turnmix.policies.endpoint.answer_form import ended, form_fields
from turnmix.policies.endpoint.asking import EndpointAsker
from turnmix.policies.endpoint.counters import EndpointCounters
from turnmix.policies.endpoint.dialect import Dialect
from turnmix.policies.endpoint.history import provider_fields, wire_messages
from turnmix.policies.endpoint.settings import EndpointSettings, redacted_url
from turnmix.policies.endpoint.throttle import Sleep
from turnmix.policies.endpoint.wire import CONTEXT_EXCEEDED, read_answer, request_seed
from turnmix.policies.policy import Episode

if TYPE_CHECKING:
    from turnmix.policies.endpoint.client import EndpointClient

__all__ = ["EndpointCounters", "EndpointPolicy", "EndpointSession", "EndpointSettings"]


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
        dialect: Dialect | None = None,
    ) -> None:
        """`name`: the recipe's section, named in messages. `generator`: draws the jitter of waits, which
        changes no result. `clock`: seconds since 1970; `sleep`: waits between attempts. `dialect`: what is known
        of the endpoint, which further policies of it may share.

        Raises:
            UserError: the environment variable holds what cannot be a key.
        """
        self.name = name
        self.settings = settings
        self.dialect = dialect or Dialect(kept=frozenset(settings.extra_body))
        self._provider = f"{settings.model} at {redacted_url(settings.endpoint)}"
        self._asker = EndpointAsker(
            settings,
            name=name,
            path="/chat/completions",
            read=self._read,
            failure=TeacherError,
            generator=generator,
            clock=clock,
            sleep=sleep,
            dialect=self.dialect,
        )

    def begin(self, episode: Episode) -> EndpointSession:
        # Its draws are its own: with the student's seed, a server of the same vocabulary draws the same noise.
        return EndpointSession(self, derive_seed(episode.seed, self.name))

    async def close(self) -> None:
        await self._asker.close()

    @property
    def counters(self) -> EndpointCounters:
        """A copy of the counters as they stand."""
        return self._asker.counters

    def request_body(self, state: State, seed: int) -> dict[str, Any]:
        """The JSON of one request. What the policy sets is laid over what a scaffold wants of the answer's form, and
        `extra_body` over both; a null there takes a field away."""
        settings = self.settings
        body: dict[str, Any] = {
            **form_fields(state.form, has_tools=bool(state.tools)),
            "model": settings.model,
            "messages": wire_messages(state.messages, provider=self._provider),
            "tools": [tool.to_json() for tool in state.tools] or None,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_new_tokens,
            "seed": seed,
            **settings.extra_body,
        }
        return {field_name: value for field_name, value in body.items() if value is not None}

    def client(self) -> EndpointClient:
        """The connections of the running event loop."""
        return self._asker.client()

    async def complete(self, body: Mapping[str, Any], counters: EndpointCounters | None = None) -> Action:
        """The model's action, after as many attempts as it takes, counted in `counters` too.

        Raises:
            UserError: the endpoint refuses the settings.
            TeacherError: no attempt was answered.
        """
        is_mere_prompt = all(message["role"] != "assistant" for message in body["messages"])
        action = await self._asker.ask(lambda: body, is_mere_prompt=is_mere_prompt, counters=counters)
        if action is None:
            return Action(message=Message(role="assistant", content=""), parse_error=CONTEXT_EXCEEDED)
        return action

    def _read(self, body: bytes) -> Action:
        action = read_answer(body)
        fields = provider_fields(body, provider=self._provider)
        return (
            action
            if fields is None
            else replace(action, message=replace(action.message, provider_fields=fields))
        )


class EndpointSession:
    """An endpoint's model in one trajectory. The whole conversation goes with every request."""

    def __init__(self, policy: EndpointPolicy, seed: int) -> None:
        self._policy = policy
        self._seed = seed
        self._counters = EndpointCounters()

    async def look(self) -> None:
        """The model sees the messages alone."""

    async def act(self, state: State) -> Action:
        body = self._policy.request_body(state, request_seed(self._seed, state))
        return ended(await self._policy.complete(body, self._counters), state.form)

    @property
    def usage(self) -> Usage:
        return self._counters.usage

    async def close(self) -> None:
        """Nothing is held."""
