"""The student acting through a server: prompts rendered here, answers parsed here, as for one in this process.

In: a state. Out: the action, with the token ids that the server sampled and log π of each where its engine tells
them. A conversation that fills the context is data; a server that cannot be asked is an `InfrastructureError`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from turnmix.core.errors import InfrastructureError
from turnmix.core.in_thread import in_thread_if
from turnmix.core.trajectory import Action, State
from turnmix.core.usage import Usage
from turnmix.policies.endpoint.asking import EndpointAsker
from turnmix.policies.endpoint.counters import EndpointCounters
from turnmix.policies.endpoint.settings import EndpointSettings
from turnmix.policies.endpoint.wire import request_seed
from turnmix.policies.policy import Episode
from turnmix.policies.server.engine import Completion, Engine, ServerSampling
from turnmix.policies.unfinished_answer import cut_off, no_room
from turnmix.rendering.renderer import Renderer
from turnmix.rendering.stop_texts import before_stop, stopped_answer
from turnmix.rendering.work import MOST_TOKENS, is_long_work

if TYPE_CHECKING:
    from turnmix.policies.endpoint.client import Guard

COMPLETIONS = "/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One turn to be asked for."""

    prompt_ids: list[int]
    prompt_text: str
    limit: int
    """New tokens at most; 0 or less: the conversation fills the context."""


class ServerPolicy:
    """One model behind one server, as its weights are now. Its sessions hold nothing."""

    name = "student"

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        engine: Engine,
        served_model: Callable[[], str],
        renderer: Renderer,
        context: int | None,
        sampling: ServerSampling,
        generator: random.Random,
        before_attempt: Callable[[], Awaitable[None]] | None = None,
        key: SecretStr | None = None,
        guard: Guard | None = None,
    ) -> None:
        """
        served_model: the model's name at the server, which a restart may change
        context: tokens that prompt and answer may have together
        generator: draws the jitter of waits, which changes no result
        before_attempt: awaited before each attempt
        key, guard: see `EndpointAsker`
        """
        self._engine = engine
        self._served_model = served_model
        self._renderer = renderer
        self.context = context
        """Tokens that prompt and answer may have together."""
        self._max_new_tokens = settings.max_new_tokens
        self._sampling = sampling
        self._asker: EndpointAsker[Completion] = EndpointAsker(
            settings,
            name="student.server",
            path=COMPLETIONS,
            read=engine.read_completion,
            failure=InfrastructureError,
            generator=generator,
            before_attempt=before_attempt,
            key=key,
            guard=guard,
        )

    def begin(self, episode: Episode) -> ServerSession:
        # A draw follows from the seed and the state: nothing is to be known of the turns before.
        return ServerSession(self, episode.seed)

    async def close(self) -> None:
        await self._asker.close()

    @property
    def served_model(self) -> str:
        """The student's name at the server now."""
        return self._served_model()

    @property
    def greedy(self) -> bool:
        return self._sampling.greedy

    @property
    def counters(self) -> EndpointCounters:
        """A copy of the counters as they stand."""
        return self._asker.counters

    async def act(self, state: State, seed: int, counters: EndpointCounters | None = None) -> Action:
        """The action in `state`; `seed` is of this turn alone. What it cost is counted in `counters` too."""
        request = await in_thread_if(is_long_work(state), lambda: self._request(state))
        if request.limit <= 0:
            return self._full(request)
        sampling = replace(self._sampling, stop_texts=state.form.stop)
        completion = await self._asker.ask(lambda: self._body(request, seed, sampling), counters=counters)
        if completion is None:
            return self._full(request)
        is_long = (completion.completion_tokens or len(completion.text)) > MOST_TOKENS
        return await in_thread_if(is_long, lambda: self._action(request, completion, state))

    def _request(self, state: State) -> Request:
        prompt_ids = self._renderer.prompt_ids(state)
        limit = self._max_new_tokens
        if self.context is not None:
            limit = min(limit, self.context - len(prompt_ids))
        return Request(prompt_ids=prompt_ids, prompt_text=self._renderer.prompt_text(state), limit=limit)

    def _body(self, request: Request, seed: int, sampling: ServerSampling) -> dict[str, Any]:
        asked = self._engine.completion_request(
            prompt_ids=request.prompt_ids,
            prompt_text=request.prompt_text,
            limit=request.limit,
            seed=seed,
            sampling=sampling,
        )
        return {"model": self._served_model(), **asked}

    def _full(self, request: Request) -> Action:
        prompt_tokens = len(request.prompt_ids)
        return replace(no_room(self.context), logprobs=(), prompt_tokens=prompt_tokens, completion_tokens=0)

    def _action(self, request: Request, completion: Completion, state: State) -> Action:
        action, was_cut = self._read(completion, state)
        if was_cut:
            action = cut_off(action, limit=request.limit)
        logprobs = completion.logprobs
        if logprobs is not None and action.token_ids is not None:
            logprobs = logprobs[: len(action.token_ids)]
        return replace(
            action,
            logprobs=logprobs,
            prompt_tokens=len(request.prompt_ids),
            completion_tokens=completion.completion_tokens,
            cached_tokens=completion.cached_tokens,
        )

    def _read(self, completion: Completion, state: State) -> tuple[Action, bool]:
        """What the student said, and whether its limit of tokens cut it off."""
        token_ids, stop, was_cut = completion.token_ids, state.form.stop, completion.was_cut
        if token_ids is None:
            before = before_stop(completion.text, stop)
            if before is None:
                return self._renderer.parse_text(completion.text, state.tools), was_cut
            action = self._renderer.parse_text(before[0], state.tools)
            return replace(action, stop_text=before[1]), False
        stopped = stopped_answer(token_ids, stop, self._renderer.spelled)
        if stopped is not None:
            action = self._renderer.parse_text(stopped.text, state.tools)
            return replace(action, token_ids=stopped.token_ids, stop_text=stopped.stop_text), False
        # A server that was given no stop texts ends an answer at a token, or cuts it off.
        is_open = not token_ids or token_ids[-1] not in self._sampling.stop_ids
        return self._renderer.parse(token_ids, state.tools), is_open and (was_cut or not stop)


class ServerSession:
    """The student in one trajectory. The whole conversation goes with every request."""

    def __init__(self, policy: ServerPolicy, seed: int) -> None:
        self._policy = policy
        self._seed = seed
        self._counters = EndpointCounters()

    @property
    def usage(self) -> Usage:
        return self._counters.usage

    async def look(self) -> None:
        """The student sees the messages alone."""

    async def act(self, state: State) -> Action:
        return await self._policy.act(state, request_seed(self._seed, state), self._counters)

    async def close(self) -> None:
        """Nothing is held."""
