"""Do the student's server and the teacher's endpoint answer, with what the method needs of them?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from turnmix.assembly.model_location import model_location
from turnmix.assembly.server import check_student_server
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.doctor.models import cached_file
from turnmix.policies.endpoint.check import check_endpoint
from turnmix.policies.endpoint.dialect import Dialect
from turnmix.policies.endpoint.settings import AskingSettings
from turnmix.policies.server.cache import Asking, cache_findings
from turnmix.recipe.recipe import EndpointTeacherSettings, OracleSettings, Recipe
from turnmix.rendering.vocabulary import vocabulary_size

ANSWER_SECONDS = 5.0
LONG_SECONDS = 20.0


def check_student_serving(recipe: Recipe) -> Iterator[Finding]:
    if recipe.student.server is None:
        yield Finding(subject="server", passed=True, detail="the student acts in this process")
        return
    yield from check_student_server(recipe)
    server = recipe.student.server
    if server.endpoint is not None:
        yield from _cache(recipe, server, endpoint=server.endpoint, field="student.server")


def check_teacher(recipe: Recipe) -> Iterator[Finding]:
    teacher = recipe.teacher
    if isinstance(teacher, OracleSettings):
        yield Finding(subject="kind", passed=True, detail="the oracle: it costs nothing and is always there")
        return
    if not isinstance(teacher, EndpointTeacherSettings):
        try:
            location = model_location(teacher.model, field="teacher.model")
        except UserError as error:
            yield Finding(subject="model", passed=False, detail=str(error))
            return
        is_here = cached_file(location, "config.json") is not None
        detail = f"{teacher.model} {'is here' if is_here else 'is fetched from the hub at the start'}"
        yield Finding(subject="model", passed=True if is_here else None, detail=detail)
        return
    hurried = teacher.model_copy(
        update={
            "timeout_seconds": min(ANSWER_SECONDS, teacher.timeout_seconds),
            "max_attempts": 1,
            "max_throttled_seconds": 0.0,
        }
    )
    findings = endpoint_findings(recipe, hurried)
    yield from findings
    if not findings[0].passed:
        return
    if recipe.asks_teacher:
        yield from _cache(recipe, teacher, endpoint=teacher.endpoint, field="teacher")
    if recipe.objective.needs_scores:
        yield from _scores_findings(recipe, teacher)


def _cache(recipe: Recipe, asked: AskingSettings, *, endpoint: str, field: str) -> list[Finding]:
    """How many conversations the server holds, beside how many will be asked."""
    answer = recipe.student.max_new_tokens
    if isinstance(asked, EndpointTeacherSettings):
        answer = asked.max_new_tokens
    asking = Asking(
        field=field,
        context=recipe.scaffold.max_tokens + answer,
        answer=answer,
        at_once=min(asked.max_concurrency, recipe.rollouts.concurrency),
        timeout=asked.timeout_seconds,
    )
    return cache_findings(endpoint, asking)


def endpoint_findings(
    recipe: Recipe,
    settings: EndpointTeacherSettings,
    *,
    dialect: Dialect | None = None,
    is_acting: bool | None = None,
    must_list: bool = True,
) -> tuple[Finding, ...]:
    """Does the endpoint answer, and act? Asked as patiently as `settings` say; what it wants goes into `dialect`.
    `is_acting`: will it be asked for actions; None: as the recipe says. `must_list`: see `check_endpoint`."""
    from turnmix.policies.endpoint.policy import EndpointPolicy

    acts = recipe.asks_teacher if is_acting is None else is_acting

    async def ask() -> tuple[Finding, ...]:
        policy = EndpointPolicy(settings, generator=random.Random(0), dialect=dialect)
        try:
            return await check_endpoint(
                policy,
                needed_context=recipe.scaffold.max_tokens,
                answer_tokens=settings.max_new_tokens if acts else 0,
                tool_calls=recipe.scaffold.tool_calls if acts else None,
                must_list=must_list,
            )
        finally:
            await policy.close()

    return asyncio.run(ask())


def _scores_findings(recipe: Recipe, teacher: EndpointTeacherSettings) -> Iterator[Finding]:
    """Does the teacher say how likely it finds the student's tokens, also of as many as a conversation has?"""
    location = model_location(recipe.student.model, field="student.model")
    if cached_file(location, "tokenizer.json") is None:
        detail = "whether it returns prompt_logprobs cannot be told before student.model is here"
        yield Finding(subject="logprobs", passed=None, detail=detail)
        return
    from turnmix.policies.endpoint.scorer import EndpointScorer
    from turnmix.policies.local.loading import load_tokenizer

    tokenizer = load_tokenizer(location)
    hurried = {"timeout_seconds": LONG_SECONDS, "max_attempts": 1, "max_throttled_seconds": 0.0}
    scorer = EndpointScorer(teacher.model_copy(update=hurried), generator=random.Random(0))
    try:
        scorer.check(
            vocabulary=vocabulary_size(tokenizer),
            name_of=lambda token: str(tokenizer.decode([token])),
        )
        yield Finding(
            subject="logprobs", passed=True, detail="returns prompt_logprobs of the student's tokens"
        )
        length = min(recipe.learner.max_context or recipe.longest_context, recipe.longest_context)
        seconds = scorer.check_length(length)
    except UserError as error:
        yield Finding(subject="logprobs", passed=False, detail=str(error))
        return
    yield Finding(subject="length", passed=True, detail=f"scored {length:,} tokens in {seconds:.0f} s")
