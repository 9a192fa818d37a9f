"""Failure modes by a model, where no rule decides: asked once, its answers kept, read strictly.

In: questions. Out: a `Judgement` each. An answer that names no mode word for word is no mode: the trajectory counts as
not judged. Who keeps the answers asks nothing a second time, and comes to the same digits.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from turnmix.policies.endpoint.throttle import Sleep
from turnmix.policies.endpoint.wire import read_answer

_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)
_LONGEST_ANSWER = 20_000
MOST_FAILED_IN_A_ROW = 8
"""Questions without an answer, each after all its retries, after which the judge is taken to be gone."""


class JudgeError(InfrastructureError):
    """The judge gave no answer after all retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """All that an answer depends on, but for where the judge is asked."""

    model: str
    temperature: float | None
    top_p: float | None
    max_new_tokens: int
    max_material_characters: int
    further: str
    """A digest of further fields of each request."""
    prompt: str

    @classmethod
    def of(cls, settings: JudgeSettings) -> Judge:
        """Raises UserError: the prompt file is none."""
        further = json_text(settings.extra_body, sort_keys=True)
        return cls(
            model=settings.model,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_new_tokens=settings.max_new_tokens,
            max_material_characters=settings.max_material_characters,
            further=hashlib.sha256(further.encode()).hexdigest()[:16],
            prompt=judge_prompt(settings.prompt_file),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One trajectory, as a judge is asked about it."""

    id: str
    """A digest of the judge and the text: what was answered once is not asked again."""
    text: str
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


def question_about(unresolved: Unresolved, judge: Judge) -> Question:
    modes = modes_for(unresolved)
    text = question(judge.prompt, unresolved, modes, max_characters=judge.max_material_characters)
    asked = json_text({**asdict(judge), "text": text}, sort_keys=True)
    return Question(id=hashlib.sha256(asked.encode()).hexdigest()[:32], text=text, modes=modes)


async def ask(
    questions: Sequence[Question],
    settings: JudgeSettings,
    *,
    keep: Callable[[Question, Judgement], None],
    sleep: Sleep = asyncio.sleep,
) -> int:
    """Ask each, as many at a time as the settings say, and keep what is answered; how many were not. A judge that fails
    time after time is not asked the rest: each would wait out all its retries.

    Raises:
        UserError: the endpoint refuses the settings.
    """
    asker: EndpointAsker[Action] = EndpointAsker(
        settings,
        name="judge",
        path="/chat/completions",
        read=read_answer,
        failure=JudgeError,
        generator=random.Random(0),  # draws the jitter of waits, which changes no result
        sleep=sleep,
    )

    num_failed_in_a_row = 0
    asked_at_once = asyncio.Semaphore(settings.max_concurrency)

    async def one(asked: Question) -> int:
        nonlocal num_failed_in_a_row
        counters = EndpointCounters()
        async with asked_at_once:
            if num_failed_in_a_row >= MOST_FAILED_IN_A_ROW:
                return 1
            try:
                action = await asker.ask(lambda: _body(asked, settings), counters=counters)
            except JudgeError:
                num_failed_in_a_row += 1
                return 1
        num_failed_in_a_row = 0
        text = None if action is None else action.message.content[:_LONGEST_ANSWER]
        keep(asked, Judgement(text=text, usage=counters.usage))
        return 0

    asking = [asyncio.ensure_future(one(each)) for each in questions]
    try:
        return sum(await asyncio.gather(*asking))
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asker.close()


def _body(asked: Question, settings: JudgeSettings) -> dict[str, Any]:
    body = {
        "model": settings.model,
        "messages": [{"role": "user", "content": asked.text}],
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_new_tokens,
        **settings.extra_body,
    }
    return {name: value for name, value in body.items() if value is not None}
