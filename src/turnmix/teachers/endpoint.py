"""A teacher behind an OpenAI-compatible endpoint: it acts and labels in words, and may score tokens."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from turnmix.core.errors import UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.finding import Finding
from turnmix.core.seed import derive_seed
from turnmix.policies.endpoint.check import check_endpoint
from turnmix.policies.endpoint.dialect import Dialect
from turnmix.policies.endpoint.policy import EndpointPolicy
from turnmix.policies.endpoint.scorer import EndpointScorer
from turnmix.policies.endpoint.settings import EndpointSettings, redacted_url
from turnmix.policies.server.cache import Asking, cache_findings
from turnmix.policies.teacher import StudentTokens, Teacher, TeacherParts, TeacherSettings

ANSWER_SECONDS = 5.0
"""For one answer of the endpoint, where an answer is wanted in seconds."""
SCORE_SECONDS = 20.0
"""For one that scores."""


class EndpointTeacherSettings(EndpointSettings, TeacherSettings):
    """A teacher behind an OpenAI-compatible endpoint."""

    kind: Literal["endpoint"] = "endpoint"
    """Which teacher."""
    scoring_concurrency: int = Field(default=4, ge=1)
    """Trajectories that it scores at one moment: a whole conversation is read for each, past the server's cache of
    prompts."""
    scoring_timeout_seconds: float = Field(default=1800.0, gt=0)
    """For one request that scores, in place of timeout_seconds."""
    gives_logprobs: ClassVar[bool] = True

    @property
    def shown_name(self) -> str:
        return f"{self.model} at {redacted_url(self.endpoint)}"

    @property
    def max_connections(self) -> int:
        return self.max_concurrency

    def for_scoring(self) -> EndpointTeacherSettings:
        """How it is asked for scores."""
        return self.model_copy(
            update={
                "max_concurrency": self.scoring_concurrency,
                "timeout_seconds": self.scoring_timeout_seconds,
            }
        )

    def hurried(self, seconds: float) -> EndpointTeacherSettings:
        """How it is asked where an answer is wanted in so many seconds, or none."""
        return self.model_copy(
            update={"timeout_seconds": seconds, "max_attempts": 1, "max_throttled_seconds": 0.0}
        )

    def make(self, parts: TeacherParts) -> EndpointTeacher:
        return EndpointTeacher(self, parts)


class EndpointTeacher(Teacher):
    """One model at one endpoint. What the endpoint wants otherwise than most is learned once, by whoever asks first."""

    def __init__(self, settings: EndpointTeacherSettings, parts: TeacherParts) -> None:
        self._settings = settings
        self._parts = parts
        self._dialect = Dialect(kept=frozenset(settings.extra_body))

    def check(self, *, is_hurried: bool) -> Iterable[Finding]:
        """As a run will ask it; one that is hurried must list its models, and tells of its cache."""
        settings, acts = self._settings, self._parts.acts
        if is_hurried:
            settings = settings.hurried(min(ANSWER_SECONDS, settings.timeout_seconds))
        findings = run_coroutine(self._ask(settings, must_list=is_hurried))
        yield from findings
        longest = self._parts.max_tokens
        if is_hurried and acts and longest is not None and findings[0].passed:
            asking = Asking(
                field="teacher",
                context=longest + self._settings.max_new_tokens,
                answer=self._settings.max_new_tokens,
                at_once=min(self._settings.max_concurrency, self._parts.concurrency),
                timeout=self._settings.timeout_seconds,
            )
            yield from cache_findings(self._settings.endpoint, asking)

    async def _ask(self, settings: EndpointTeacherSettings, *, must_list: bool) -> tuple[Finding, ...]:
        acts = self._parts.acts
        policy = EndpointPolicy(settings, generator=random.Random(0), dialect=self._dialect)
        try:
            return await check_endpoint(
                policy,
                needed_context=self._parts.max_tokens,
                answer_tokens=settings.max_new_tokens if acts else 0,
                tool_calls=self._parts.tool_calls if acts else None,
                must_list=must_list,
            )
        finally:
            await policy.close()

    def check_scoring(self, student: StudentTokens) -> Iterable[Finding]:
        scorer = EndpointScorer(self._settings.hurried(SCORE_SECONDS), generator=random.Random(0))
        try:
            scorer.check(vocabulary=student.vocabulary, name_of=student.name_of)
            detail = "returns prompt_logprobs of the student's tokens"
            yield Finding(subject="logprobs", passed=True, detail=detail)
            seconds = scorer.check_length(student.longest)
        except UserError as error:
            yield Finding(subject="logprobs", passed=False, detail=str(error))
            return
        detail = f"scored {student.longest:,} tokens in {seconds:.0f} s"
        yield Finding(subject="length", passed=True, detail=detail)

    def policy(self) -> EndpointPolicy:
        return EndpointPolicy(self._settings, generator=self._generator("endpoint"), dialect=self._dialect)

    def scorer(self, student: StudentTokens) -> EndpointScorer:
        scorer = EndpointScorer(self._settings.for_scoring(), generator=self._generator("scorer"))
        scorer.check(
            vocabulary=student.vocabulary, name_of=student.name_of, student_context=student.max_context
        )
        scorer.check_length(student.longest)
        return scorer

    def _generator(self, name: str) -> random.Random:
        return random.Random(derive_seed(self._parts.seed, name))
