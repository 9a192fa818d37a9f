"""Is an endpoint ready to teach? Asked before a run, once, without retries.

In: an `EndpointPolicy`. Out: findings in plain words, in the order in which they were made.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from turnmix.core.errors import UserError
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Action, State
from turnmix.policies.endpoint import EndpointPolicy
from turnmix.policies.endpoint_client import Reply
from turnmix.policies.endpoint_retry import Fault
from turnmix.policies.endpoint_settings import redacted_url
from turnmix.policies.endpoint_wire import listed_context, read_json

_PROBE = ToolSpecification(
    name="report_ready",
    description="Report that you are ready.",
    parameters={
        "type": "object",
        "properties": {"message": {"type": "string", "description": "One word."}},
        "required": ["message"],
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was checked."""

    subject: str
    """`reachable`, `model`, `context` or `tool_call`."""
    passed: bool | None
    """None: could not be told, which is no failure."""
    detail: str


async def check_endpoint(
    policy: EndpointPolicy, *, timeout_seconds: float = 30.0, needed_context: int | None = None
) -> tuple[Finding, ...]:
    """Reach the endpoint, look for the model in its list, have it call one tool. Problems are findings.

    needed_context: tokens of the longest conversation; the model is to read so many, where the list tells
    """
    timeout = min(timeout_seconds, policy.settings.timeout_seconds)
    where = redacted_url(policy.settings.endpoint)
    listing = await policy.client().send("GET", "/models", timeout=min(timeout, 10.0))
    if isinstance(listing, Fault):
        return (
            Finding(
                subject="reachable", passed=False, detail=f"{policy.name}.endpoint {where}: {listing.detail}"
            ),
        )
    reachable = Finding(subject="reachable", passed=True, detail=f"{where} answers")
    model, tool_call = _model_finding(policy, listing), await _tool_call_finding(policy, timeout)
    context = None if needed_context is None else _context_finding(policy, listing, needed_context)
    return (reachable, model, tool_call) if context is None else (reachable, model, context, tool_call)


def _context_finding(policy: EndpointPolicy, listing: Reply, needed: int) -> Finding | None:
    """By `max_model_len`, which vLLM and its kin list; None: the list does not tell."""
    context = listed_context(listing.body, policy.settings.model)
    if context is None:
        return None
    detail = f"reads {context:,} tokens, of which {needed:,} are used"
    if context < needed:
        detail = (
            f"scaffold.max_tokens = {needed:,}: {policy.settings.model} reads {context:,} tokens there: serve it with "
            f"--max-model-len {needed}, or set scaffold.max_tokens={context}"
        )
    return Finding(subject="context", passed=context >= needed, detail=detail)


def _model_finding(policy: EndpointPolicy, listing: Reply) -> Finding:
    model = policy.settings.model
    try:
        served = [str(entry["id"]) for entry in read_json(listing.body)["data"]]
    except (ValueError, KeyError, TypeError):
        return Finding(subject="model", passed=None, detail=f"no list of models (HTTP {listing.status})")
    if model in served:
        return Finding(subject="model", passed=True, detail=f"{model} is served")
    near = difflib.get_close_matches(model, served, n=1, cutoff=0.0) or ["none"]
    detail = f"{policy.name}.model {model!r} is not among the {len(served)} models served; nearest: {near[0]}"
    return Finding(subject="model", passed=False, detail=detail)


async def must_answer(policy: EndpointPolicy, *, timeout_seconds: float = 30.0) -> None:
    """Ask the endpoint for one short answer, without tools.

    Raises:
        UserError: none came, with why and what to do.
    """
    state = State(messages=(Message(role="user", content="Answer with the one word: ready"),), tools=())
    outcome = await policy.attempt(policy.request_body(state, seed=0), timeout=timeout_seconds)
    if isinstance(outcome, Fault):
        where = redacted_url(policy.settings.endpoint)
        raise UserError(f"{policy.name}.endpoint {where}: {_told(policy, outcome)}")


def _told(policy: EndpointPolicy, fault: Fault) -> str:
    return fault.detail if fault.remedy == "retry" else policy.user_mistake(fault)


async def _tool_call_finding(policy: EndpointPolicy, timeout: float) -> Finding:
    request = Message(role="user", content="Call the tool report_ready now, with the message 'ready'.")
    state = State(messages=(request,), tools=(_PROBE,))
    outcome = await policy.attempt(policy.request_body(state, seed=0), timeout=timeout)
    passed = False
    if isinstance(outcome, Action):
        passed = any(call.name == _PROBE.name for call in outcome.message.tool_calls)
        detail = "called a tool as asked"
        if outcome.parse_error is not None:
            detail = outcome.parse_error
        elif not passed:
            detail = "answered without calling the tool: is the server started with its tool-call parser?"
    else:
        detail = _told(policy, outcome)
    return Finding(subject="tool_call", passed=passed, detail=detail)
