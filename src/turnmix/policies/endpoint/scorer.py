"""An endpoint that returns prompt log-probabilities scores: `prompt_logprobs` of vLLM's /v1/completions.

In: token paths. Out: log π_teacher of their target tokens. A trajectory is asked for once, when it is over: one
request for each of its longest paths, which is one in all where every state begins with the one before it.
Prompt log-probabilities bypass a server's prefix cache, so a request a turn would cost the square of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.core.errors import TeacherError, UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.usage import Usage
from turnmix.policies.endpoint.asking import EndpointAsker, RefusedSettings
from turnmix.policies.endpoint.counters import EndpointCounters
from turnmix.policies.endpoint.retry import Fault
from turnmix.policies.endpoint.settings import EndpointSettings, redacted_url
from turnmix.policies.endpoint.wire import MalformedAnswer, listed_context, read_body
from turnmix.policies.endpoint.wire_answer import WireUsage
from turnmix.policies.scoring import Keep, ScoreRequest, TokenPath, known_logprob

PROBES = 64
"""Tokens, spread over the vocabulary, that the endpoint is asked to name before a run."""


class EndpointScorer:
    """Scores with one model at one endpoint."""

    def __init__(self, settings: EndpointSettings, *, generator: random.Random) -> None:
        """`generator` draws the jitter of waits, which changes no result."""
        self._settings = settings
        self._asker: EndpointAsker[_Listed] = EndpointAsker(
            settings,
            name="teacher",
            path="/completions",
            read=_read_listed,
            failure=TeacherError,
            generator=generator,
        )
        self._where = f"teacher.endpoint {redacted_url(settings.endpoint)}"

    @property
    def counters(self) -> EndpointCounters:
        """A copy of the counters as they stand."""
        return self._asker.counters

    @property
    def usage(self) -> Usage:
        return self.counters.usage

    def check(
        self, *, vocabulary: int, name_of: Callable[[int], str], student_context: int | None = None
    ) -> None:
        """Ask once, before the run: are there prompt log-probabilities, and of the student's tokens? Does it read
        as many as `student_context`?

        Raises:
            UserError: the endpoint is a black box, its vocabulary another one, or its context too short.
        """
        context = None if student_context is None else run_coroutine(self._context())
        # With the paths it is asked for one token more.
        if student_context is not None and context is not None and context <= student_context:
            raise UserError(
                f"{self._where}: {self._settings.model!r} reads {context} tokens there, and is to score up to "
                f"{student_context} and one more: serve it with --max-model-len {student_context + 1}, or set "
                f"learner.max_context={context - 1}"
            )
        ids = [place * (vocabulary - 1) // (PROBES - 1) for place in range(PROBES)]
        try:
            entries = run_coroutine(self._ask_once(ids))
            if not any(known_logprob(entry.get("logprob")) is not None for entry in entries):
                raise _NoLogprobs("it has no log-probability for any token")
        except (_NoLogprobs, RefusedSettings) as error:
            if isinstance(error, RefusedSettings) and error.fault.remedy in ("user", "wait"):
                raise
            raise UserError(
                f"{self._where}: the endpoint gives no prompt_logprobs for {self._settings.model!r} ({error}), "
                "so this method cannot learn from it: serve the teacher with vLLM, set teacher.kind to local, "
                "or choose a method that learns from the teacher's text, such as dagger"
            ) from None
        for token_id, entry in zip(ids[1:], entries[1:], strict=True):
            theirs, ours = str(entry.get("decoded_token") or "").strip(), name_of(token_id).strip()
            # Pieces of characters and special tokens are shown differently by different servers.
            if theirs and ours.isascii() and ours.isalnum() and theirs != ours:
                raise UserError(
                    f"{self._where}: the token {token_id} is {theirs!r} to {self._settings.model!r} and "
                    f"{ours!r} to the student: their vocabularies differ, so its probabilities of the "
                    "student's tokens mean nothing; choose a teacher with the student's tokenizer"
                )

    def check_length(self, tokens: int) -> float:
        """Ask once for the scores of a conversation of `tokens` tokens, as long as any that may come. Returns seconds.

        Raises:
            UserError: it does not give them.
        """
        ids = [place % PROBES for place in range(tokens)]
        began = time.monotonic()
        try:
            run_coroutine(self._ask_once(ids))
        except (TeacherError, RefusedSettings) as error:
            raise UserError(
                f"{self._where}: {self._settings.model!r} does not score {tokens} tokens in one request: {error}; a "
                "server holds log-probabilities over the whole vocabulary for as many tokens as it reads at once: "
                "serve it with --max-num-batched-tokens 2048, set teacher.scoring_timeout_seconds higher, or "
                "learner.max_context lower"
            ) from error
        return time.monotonic() - began

    def score(self, requests: Iterable[ScoreRequest], keep: Keep) -> None:
        run_coroutine(self._score_all(requests, keep))

    async def _score_all(self, requests: Iterable[ScoreRequest], keep: Keep) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            for request in requests:
                while len(running) >= self._settings.max_concurrency:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                running.add(asyncio.create_task(self._score(request, keep)))
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._asker.close()

    async def _score(self, request: ScoreRequest, keep: Keep) -> None:
        found = {}
        for longest in longest_paths(request.paths):
            try:
                entries = await self._ask(longest)
            except _NoLogprobs:  # one answer ends no run; where most are so, their missing numbers do
                entries = [{}] * len(longest)
            found[longest] = [known_logprob(entry.get("logprob")) for entry in entries]
        scores: list[list[float | None]] = []
        for path in request.paths:
            whole = path.prompt_ids + path.target_ids
            logprobs = next(found[longest] for longest in found if longest[: len(whole)] == whole)
            scores.append(logprobs[len(path.prompt_ids) : len(whole)])
        keep(request.trajectory_id, scores)

    async def _context(self) -> int | None:
        try:
            reply = await self._asker.client().send("GET", "/models", timeout=self._settings.timeout_seconds)
            return None if isinstance(reply, Fault) else listed_context(reply.body, self._settings.model)
        finally:
            await self._asker.close()

    async def _ask_once(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        try:
            return await self._ask(ids)
        finally:
            await self._asker.close()

    async def _ask(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """What the endpoint says of each token but the first, whose entry is empty."""
        body = {
            "model": self._settings.model,
            "prompt": list(ids),
            "max_tokens": 1,
            "temperature": 1.0,
            "prompt_logprobs": 0,
        }
        answer = await self._asker.ask(lambda: body)
        if answer is None:
            raise _NoLogprobs(f"a path of {len(ids)} tokens is too long for it")
        return _entries(answer.prompt_logprobs, ids)


class _NoLogprobs(TeacherError):
    """The endpoint answered, but with no log-probabilities of these tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """An answer, before it is known to which tokens it belongs."""

    prompt_logprobs: Any
    usage: WireUsage

    @property
    def prompt_tokens(self) -> int | None:
        return self.usage.prompt_tokens

    @property
    def completion_tokens(self) -> int | None:
        return self.usage.completion_tokens

    @property
    def cached_tokens(self) -> int | None:
        return self.usage.cached


def _read_listed(body: bytes) -> _Listed:
    try:
        data = read_body(body)
        usage = WireUsage.model_validate(data.get("usage") or {})
        return _Listed(prompt_logprobs=data["choices"][0].get("prompt_logprobs"), usage=usage)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise MalformedAnswer("malformed_answer", f"no text completion ({type(error).__name__})") from None


def longest_paths(paths: Sequence[TokenPath]) -> list[tuple[int, ...]]:
    """The token sequences that no other one begins with; together they hold all of the others.

    >>> first = TokenPath(prompt_ids=(1,), target_ids=(2, 3))
    >>> longest_paths([first, TokenPath(prompt_ids=(1, 2, 3, 4), target_ids=(5,))])
    [(1, 2, 3, 4, 5)]
    """
    ordered = sorted({path.prompt_ids + path.target_ids for path in paths})
    # A sequence that begins another one stands right before one that it begins.
    followers = [*ordered[1:], ()]
    return [each for each, after in zip(ordered, followers, strict=True) if after[: len(each)] != each]


def _entries(listed: Any, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The entry of each token of the prompt in an answer; empty for the first token, and where there is none."""
    try:
        entries: list[dict[str, Any]] = [
            {},
            *(
                {} if entry is None else entry[str(token)] or {}
                for token, entry in zip(ids[1:], listed[1:], strict=True)
            ),
        ]
        if all(isinstance(entry, dict) for entry in entries):
            return entries
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        pass
    raise _NoLogprobs("its answer has no prompt_logprobs for each token of the prompt")
