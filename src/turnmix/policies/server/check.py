"""Is a server ready for the student? Asked before a run, and by whoever wants to know without one.

In: a server, the model's name at it. Out: findings in plain words. Nothing here changes the server's weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.policies.endpoint.retry import Fault
from turnmix.policies.endpoint.wire import MalformedAnswer
from turnmix.policies.server.control import QUICK_SECONDS, ServerControl, failure_of
from turnmix.policies.server.engine import Completion, Engine, ServerSampling
from turnmix.policies.server.settings import GIVES_TOKENS
from turnmix.rendering import probe
from turnmix.rendering.renderer import Renderer

_NEW_TOKENS = 2
_TEMPERED_TOKENS = 8
_SAME = 0.1
"""Less than this share of what temperature T makes of a logit, 1/T − 1, is rounding."""
_UNSURE = 0.5
_ANY_TEXT = "def"
_ANY_IDS = [0, 1]
_ANSWER_SECONDS = 120.0


def check_serving(
    control: ServerControl,
    engine: Engine,
    *,
    model: str,
    sampling: ServerSampling,
    model_context: int | None,
    needed_context: int | None,
) -> tuple[Finding, ...]:
    """Reach the server, look at its context, have it answer. Problems are findings.

    model: the student's name at the server
    model_context: tokens that the model reads by its configuration; None: it says nothing
    needed_context: tokens of the longest conversation that the run allows; None: the tasks alone know
    """
    health = control.send("GET", "/health", timeout=QUICK_SECONDS)
    if problem := failure_of(health):
        detail = f"student.server.endpoint {control.where}: {problem}"
        return (Finding(subject="reachable", passed=False, detail=detail),)
    reachable = Finding(subject="reachable", passed=True, detail=f"{control.where} answers")
    version = check_version(control, engine)
    if version.passed is False:
        return reachable, version
    contexts = [c for c in (model_context, engine.context(control, model)) if c is not None]
    context = _context_finding(min(contexts, default=None), needed_context)
    return reachable, version, context, *_answer_findings(control, engine, model, sampling)


def check_version(control: ServerControl, engine: Engine) -> Finding:
    """Is the program that answers new enough? One built between two versions does not tell."""
    told, least = engine.version(control), engine.least_version
    numbers = re.match(r"(\d+)\.(\d+)", told or "")
    if least is None or told is None or numbers is None or "dev" in told:
        return Finding(subject="version", passed=None, detail=f"{engine.name} tells no version")
    if (int(numbers[1]), int(numbers[2])) >= least:
        return Finding(subject="version", passed=True, detail=f"{engine.name} {told}")
    needed = ".".join(map(str, least))
    detail = f"student.server: {control.where} is {engine.name} {told}, which does not take new weights while it runs"
    return Finding(subject="version", passed=False, detail=f"{detail}: install {needed} or newer")


def check_text_prompts(renderer: Renderer, tokenizer: Any) -> Finding:
    """Does a server that takes and gives text alone see the student's own tokens, and show its tool calls?"""
    subject = "text"
    for state in probe.STATES:
        if list(tokenizer(renderer.prompt_text(state))["input_ids"]) != renderer.prompt_ids(state):
            detail = (
                "its tokenizer adds tokens to a rendered prompt, so a server would not see what training sees"
            )
            return Finding(subject=subject, passed=False, detail=f"student.model: {detail}; {_OTHER_ENGINE}")
    state, turn = probe.BEGINNING, probe.TURNS[0]
    ids = tokenizer(renderer.target_text(state, turn), add_special_tokens=False)["input_ids"]
    shown = renderer.parse_text(tokenizer.decode(ids, skip_special_tokens=True), state.tools)
    if shown.message.tool_calls != turn.tool_calls:
        detail = (
            "it writes tool calls with special tokens, which transformers serve leaves out of its answers"
        )
        return Finding(subject=subject, passed=False, detail=f"student.model: {detail}; {_OTHER_ENGINE}")
    return Finding(subject=subject, passed=True, detail="prompts and tool calls survive as text")


_OTHER_ENGINE = "set student.server.engine to vllm, or leave student.server out"


def refuse(findings: Sequence[Finding]) -> None:
    """Raise UserError with a line for each finding that failed."""
    if failed := [finding.detail for finding in findings if finding.passed is False]:
        raise UserError(*failed)


def _context_finding(context: int | None, needed: int | None) -> Finding:
    if context is None:
        return Finding(subject="context", passed=None, detail="neither server nor model tells its context")
    if needed is None:
        return Finding(subject="context", passed=True, detail=f"reads {context} tokens")
    if context < needed:
        detail = (
            f"scaffold.max_tokens: {needed}: the served student reads {context} tokens; set it to {context}, or "
            "serve the model with a longer context"
        )
        return Finding(subject="context", passed=False, detail=detail)
    return Finding(
        subject="context", passed=True, detail=f"reads {context} tokens, of which {needed} are used"
    )


def _answer_findings(
    control: ServerControl, engine: Engine, model: str, sampling: ServerSampling
) -> tuple[Finding, ...]:
    request = engine.completion_request(
        prompt_ids=_ANY_IDS, prompt_text=_ANY_TEXT, limit=_NEW_TOKENS, seed=0, sampling=sampling
    )
    reply = control.send("POST", "/v1/completions", {"model": model, **request}, timeout=_ANSWER_SECONDS)
    if isinstance(reply, Fault) or (problem := failure_of(reply)):
        problem = reply.detail if isinstance(reply, Fault) else problem
        detail = f"student.server: {control.where} does not complete with model {model!r}: {problem}"
        return (Finding(subject="model", passed=False, detail=detail),)
    served = Finding(subject="model", passed=True, detail=f"{model} is served")
    found = (served, _token_finding(engine, reply.body, control.where))
    if not engine.tells_tempered_logprobs or found[-1].passed is False:
        return found
    return *found, _temperature_finding(control, engine, model, sampling)


def _temperature_finding(
    control: ServerControl, engine: Engine, model: str, sampling: ServerSampling
) -> Finding:
    """Is log π of sampled tokens told at the temperature at which they were sampled? Its prompt's is told at 1."""
    subject = "logprobs"
    request = engine.completion_request(
        prompt_ids=_ANY_IDS,
        prompt_text=_ANY_TEXT,
        limit=_TEMPERED_TOKENS,
        seed=0,
        sampling=replace(sampling, greedy=False, stop_ids=()),
    )
    reply = control.send("POST", "/v1/completions", {"model": model, **request}, timeout=_ANSWER_SECONDS)
    if isinstance(reply, Fault) or failure_of(reply):
        return Finding(subject=subject, passed=None, detail="not tried: the server did not complete")
    completion = engine.read_completion(reply.body)
    ids, told = list(completion.token_ids or ()), list(completion.logprobs or ())
    plain = engine.prompt_logprobs(control, model, [*_ANY_IDS, *ids]) or []
    pairs = [
        (ours, at_1)
        for ours, at_1 in zip(told, plain[len(_ANY_IDS) - 1 :], strict=False)
        if ours is not None and at_1 is not None
    ]
    rounding = _SAME * abs(1 / sampling.temperature - 1)
    is_told_at_1 = sum(abs(ours - at_1) for ours, at_1 in pairs) < rounding * len(pairs)
    # Where every token is as good as certain, temperature changes nothing.
    if is_told_at_1 and any(at_1 < -_UNSURE for _, at_1 in pairs):
        return Finding(
            subject=subject,
            passed=False,
            detail=f"student.temperature: {sampling.temperature}: {control.where} tells log-probabilities at "
            f"temperature 1, and the objective compares with those of the tokens' own: start it with "
            f"--logprobs-mode processed_logprobs, or set student.temperature to 1",
        )
    return Finding(
        subject=subject, passed=True, detail=f"log-probabilities are at temperature {sampling.temperature}"
    )


def _token_finding(engine: Engine, body: bytes, where: str) -> Finding:
    gives = GIVES_TOKENS[engine.name]
    try:
        completion: Completion = engine.read_completion(body)
    except MalformedAnswer as error:
        detail = f"student.server.engine: {engine.name!r}: {where} does not answer as it does: {error}"
        return Finding(subject="token_ids", passed=False, detail=detail)
    detail = f"{len(completion.token_ids or ())} token ids with log-probabilities returned"
    return Finding(
        subject="token_ids",
        passed=True if gives else None,
        detail=detail if gives else "this engine returns neither token ids nor log-probabilities",
    )
