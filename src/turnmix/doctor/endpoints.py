"""Do the student's server and the teacher's endpoint answer, with what the method needs of them?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from turnmix.assembly.model_location import model_location
from turnmix.assembly.server import check_student_server
from turnmix.assembly.source import make_source
from turnmix.assembly.teacher import make_teacher, student_tokens
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.doctor.models import cached_file
from turnmix.environments.environment import expert_of
from turnmix.policies.policy import Policy
from turnmix.policies.server.cache import Asking, cache_findings
from turnmix.policies.server.settings import ServerSettings
from turnmix.policies.teacher import Teacher
from turnmix.recipe.recipe import Recipe


class _NoTasks(UserError):
    """The tasks cannot be made, which is a finding of its own."""


def check_student_serving(recipe: Recipe) -> Iterator[Finding]:
    if recipe.student.server is None:
        yield Finding(subject="server", passed=True, detail="the student acts in this process")
        return
    yield from check_student_server(recipe)
    server = recipe.student.server
    if server.endpoint is not None:
        yield from _cache(recipe, server, server.endpoint)


def check_teacher(recipe: Recipe) -> Iterator[Finding]:
    if recipe.data.messages is not None:
        return

    def expert() -> Policy | None:
        try:
            return expert_of(make_source(recipe))
        except UserError as error:
            raise _NoTasks(str(error)) from error

    try:
        teacher = make_teacher(recipe, expert=expert)
    except _NoTasks:
        detail = "whether the tasks have an expert cannot be told before they are there"
        yield Finding(subject="kind", passed=None, detail=detail)
        return
    findings = list(teacher.check(is_hurried=True))
    made = Finding(subject="kind", passed=True, detail=f"the {recipe.teacher.title} can be made")
    yield from findings or [made]
    if recipe.objective.needs_scores and all(each.passed is not False for each in findings[:1]):
        yield from _scores_findings(recipe, teacher)


def _cache(recipe: Recipe, server: ServerSettings, endpoint: str) -> list[Finding]:
    """How many conversations the student's server holds, beside how many will be asked."""
    if recipe.conversation_limit is None:
        return []
    answer = recipe.student.max_new_tokens
    asking = Asking(
        field="student.server",
        context=recipe.conversation_limit + answer,
        answer=answer,
        at_once=min(server.max_concurrency, recipe.rollouts.concurrency),
        timeout=server.timeout_seconds,
    )
    return cache_findings(endpoint, asking)


def _scores_findings(recipe: Recipe, teacher: Teacher) -> Iterable[Finding]:
    """Does the teacher say how likely it finds the student's tokens, also of as many as a conversation has?"""
    location = model_location(recipe.student.model, field="student.model")
    if cached_file(location, "tokenizer.json") is None:
        detail = "whether it returns prompt_logprobs cannot be told before student.model is here"
        return [Finding(subject="logprobs", passed=None, detail=detail)]
    from turnmix.policies.local.loading import load_tokenizer

    longest = recipe.learner.max_context or recipe.longest_context
    student = student_tokens(recipe, load_tokenizer(location), max_context=longest)
    return teacher.check_scoring(student)
