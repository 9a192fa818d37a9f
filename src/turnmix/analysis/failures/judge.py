"""Failure modes by a model, where no rule decides: asked once, its answers kept, read strictly.

In: questions. Out: a `Judgement` each. An answer that names no mode word for word is no mode: the trajectory counts as
not judged. What was answered once is read from disk, so that a second analysis asks nothing and comes to the same digits.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.analysis.failures.judge_settings import JudgeSettings
from turnmix.analysis.failures.material import judge_prompt, question
from turnmix.analysis.failures.modes import JUDGED, FailureMode
from turnmix.analysis.failures.unresolved import Unresolved
from turnmix.core.errors import InfrastructureError
from turnmix.core.json_text import json_text, json_value
from turnmix.core.trajectory import Action
from turnmix.core.usage import Usage
from turnmix.policies.endpoint.asking import EndpointAsker
from turnmix.policies.endpoint.counters import EndpointCounters
from turnmix.policies.endpoint.settings import EndpointSettings
from turnmix.policies.endpoint.wire import read_answer

_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)
_LONGEST_ANSWER = 20_000


class JudgeError(InfrastructureError):
    """The judge gave no answer after all retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One trajectory, as a judge is asked about it."""

    id: str
    """A digest of the whole request: an equal one is not sent twice."""
    body: Mapping[str, Any]
    modes: tuple[FailureMode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge said."""

    text: str | None
    """None: the trajectory was too long for it."""
    usage: Usage

    def mode(self, modes: Collection[FailureMode]) -> FailureMode | None:
        """None: the answer names none of these."""
        return None if self.text is None else read_mode(self.text, modes)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "usage": self.usage.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Judgement:
        return cls(text=data["text"], usage=Usage(**data["usage"]))


def read_mode(text: str, modes: Collection[FailureMode]) -> FailureMode | None:
    """The mode that an answer names: a JSON object alone, at most in a code fence, whose `mode` is one of `modes`.

    >>> read_mode('{"reason": "…", "mode": "wrong solution"}', list(FailureMode)).name
    'wrong_solution'
    >>> read_mode('I think it is a wrong solution.', list(FailureMode)) is None
    True
    """
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    try:
        answer = json_value(fenced[1] if fenced else text)
    except ValueError:
        return None
    named = answer.get("mode") if isinstance(answer, dict) else None
    return next((mode for mode in modes if mode.value == named), None)


def modes_for(unresolved: Unresolved) -> tuple[FailureMode, ...]:
    """What a judge may say of a trajectory that no rule decides."""
    if unresolved.patch is None:
        return JUDGED
    where = (FailureMode.wrong_file,) if unresolved.outline is None else ()
    return (*where, FailureMode.syntax_or_runtime_error, *JUDGED)


def question_about(unresolved: Unresolved, settings: JudgeSettings) -> Question:
    """Raises RecipeError: the prompt file is none."""
    modes = modes_for(unresolved)
    content = question(
        judge_prompt(settings.prompt_file), unresolved, modes, max_characters=settings.max_material_characters
    )
    body = {
        "model": settings.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_new_tokens,
        **settings.extra_body,
    }
    body = {name: value for name, value in body.items() if value is not None}
    digest = hashlib.sha256(json_text(body, sort_keys=True).encode()).hexdigest()
    return Question(id=digest[:32], body=body, modes=modes)


async def ask(
    questions: Sequence[Question],
    settings: EndpointSettings,
    *,
    keep: Callable[[Question, Judgement], None],
) -> int:
    """Ask each, as many at a time as the settings say, and keep what is answered; how many were not.

    Raises:
        UserError: the endpoint refuses the settings.
    """
    asker: EndpointAsker[Action] = EndpointAsker(
        settings,
        name="analysis.judge",
        path="/chat/completions",
        read=read_answer,
        failure=JudgeError,
        generator=random.Random(0),
    )

    async def one(asked: Question) -> int:
        counters = EndpointCounters()
        try:
            action = await asker.ask(lambda: asked.body, counters=counters)
        except JudgeError:
            return 1
        text = None if action is None else action.message.content[:_LONGEST_ANSWER]
        keep(asked, Judgement(text=text, usage=counters.usage))
        return 0

    try:
        return sum(await asyncio.gather(*map(one, questions)))
    finally:
        await asker.close()
