"""Is an endpoint ready to act? Asked before a run: two turns, the second after a call that it did not make.

In: an `EndpointPolicy`, which is as patient as its settings say. Out: findings in plain words, in the order in which
they were made. What the endpoint wants otherwise than most is learned here, and told.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal

from turnmix.core.errors import TeacherError, UserError
from turnmix.core.finding import Finding
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import Action, State
from turnmix.policies.endpoint.policy import EndpointPolicy
from turnmix.policies.endpoint.retry import Fault
from turnmix.policies.endpoint.settings import redacted_url
from turnmix.policies.endpoint.wire import CONTEXT_EXCEEDED, listed_context, read_json

if TYPE_CHECKING:
    from turnmix.policies.endpoint.client import Reply

_PROBE = ToolSpecification(
    name="report_ready",
    description="Report that you are ready.",
    parameters={
        "type": "object",
        "properties": {"message": {"type": "string", "description": "One word."}},
        "required": ["message"],
    },
)


_TRIES = 3
"""Answers in which a model may leave the tool alone."""

_CALL = Message(role="user", content="Call the tool report_ready now, with the message 'ready'.")
_WORD = Message(role="user", content="Answer with the one word: ready")
_FOREIGN_CALL = Message(
    role="assistant",
    content="",
    tool_calls=(ToolCall(id="call_0", name=_PROBE.name, arguments={"message": "ready"}),),
)
_FOREIGN_WORD = Message(role="assistant", content="Ready.")


async def check_endpoint(
    policy: EndpointPolicy,
    *,
    needed_context: int | None = None,
    answer_tokens: int = 0,
    tool_calls: Literal["native", "text"] | None = "native",
    must_list: bool = True,
) -> tuple[Finding, ...]:
    """Reach the endpoint, look for the model in its list, have it act twice. Problems are findings.

    needed_context: tokens of the longest conversation; the model is to read so many, where the list tells
    answer_tokens: of the longest answer, for which the model needs room beside it
    tool_calls: how its calls are read; None: it is not to act, and is asked nothing
    must_list: no answer about its models is the end; False: what acts well needs no list
    """
    timeout = min(policy.settings.timeout_seconds, 10.0)
    where = redacted_url(policy.settings.endpoint)
    listing = await policy.client().send("GET", "/models", timeout=timeout)
    findings: list[Finding] = []
    if isinstance(listing, Fault):
        detail = f"{policy.name}.endpoint {where}: {listing.detail}"
        if must_list:
            return (Finding(subject="reachable", passed=False, detail=detail),)
    else:
        findings.append(Finding(subject="reachable", passed=True, detail=f"{where} answers"))
        model = _model_finding(policy, listing)
        if must_list or model.passed:
            findings.append(model)
        context = (
            None
            if needed_context is None
            else _context_finding(policy, listing, needed_context, answer_tokens)
        )
        if context is not None:
            findings.append(context)
    if tool_calls is not None:
        notes: list[str] = []
        policy.dialect.say = notes.append
        findings += await _turn_findings(policy, with_tool=tool_calls == "native")
        findings += [Finding(subject="request", passed=None, detail=note) for note in notes]
    return tuple(findings)


def _context_finding(
    policy: EndpointPolicy, listing: Reply, conversation: int, answer: int
) -> Finding | None:
    """By `max_model_len`, which vLLM and its kin list; None: the list does not tell."""
    context = listed_context(listing.body, policy.settings.model)
    if context is None:
        return None
    needed = conversation + answer
    detail = f"reads {context:,} tokens, of which {needed:,} are used"
    if context < needed:
        # A server refuses a request whose prompt and longest answer do not fit together.
        room = f" and {policy.name}.max_new_tokens = {answer:,}" if answer else ""
        detail = (
            f"scaffold.max_tokens = {conversation:,}{room}: {policy.settings.model} reads {context:,} tokens there: "
            f"serve it with --max-model-len {needed}, or set scaffold.max_tokens={max(1, context - answer)}"
        )
    return Finding(subject="context", passed=context >= needed, detail=detail)


def _model_finding(policy: EndpointPolicy, listing: Reply) -> Finding:
    model = policy.settings.model
    try:
        served = [str(entry["id"]) for entry in read_json(listing.body)["data"]]
    except (ValueError, KeyError, TypeError):
        return Finding(subject="model", passed=None, detail=_unlisted(listing))
    if model in served:
        return Finding(subject="model", passed=True, detail=f"{model} is served")
    near = difflib.get_close_matches(model, served, n=1, cutoff=0.0) or ["none"]
    detail = f"{policy.name}.model {model!r} is not among the {len(served)} models served; nearest: {near[0]}"
    return Finding(subject="model", passed=False, detail=detail)


def _unlisted(listing: Reply) -> str:
    redirected = "" if listing.location is None else f", redirected to {listing.location}"
    return f"no list of models (HTTP {listing.status}{redirected})"


async def must_answer(policy: EndpointPolicy) -> None:
    """Ask the endpoint for one short answer, without tools.

    Raises:
        UserError: none came, with why and what to do.
    """
    try:
        await policy.complete(policy.request_body(State(messages=(_WORD,), tools=()), seed=0))
    except TeacherError as error:
        raise UserError(str(error)) from None


async def _turn_findings(policy: EndpointPolicy, *, with_tool: bool) -> list[Finding]:
    subject, request = ("tool_call", _CALL) if with_tool else ("answer", _WORD)
    state = State(messages=(request,), tools=(_PROBE,) if with_tool else ())
    try:
        for seed in range(_TRIES):
            action = await policy.complete(policy.request_body(state, seed=seed))
            has_called = any(call.name == _PROBE.name for call in action.message.tool_calls)
            if has_called or not with_tool:
                break
    except (UserError, TeacherError) as error:
        return [Finding(subject=subject, passed=False, detail=str(error))]
    if with_tool and not has_called:
        detail = (
            action.parse_error
            or "answered without calling the tool: is the server started with its tool-call parser?"
        )
        return [Finding(subject=subject, passed=False, detail=detail)]
    detail = "called a tool as asked" if with_tool else "answered"
    return [
        Finding(subject=subject, passed=True, detail=detail),
        await _history_finding(policy, state, action),
    ]


async def _history_finding(policy: EndpointPolicy, state: State, action: Action) -> Finding:
    """Does it take a conversation back, its own turn in it and one that another took?"""
    own = action.message
    foreign = _FOREIGN_CALL if state.tools else _FOREIGN_WORD
    answers = [Message(role="tool", content="noted", tool_call_id=call.id) for call in own.tool_calls]
    again = Message(
        role="tool", content="noted; report once more", tool_call_id=_FOREIGN_CALL.tool_calls[0].id
    )
    messages = (
        *state.messages,
        own,
        *(answers or (Message(role="user", content="Once more."),)),
        foreign,
        again if state.tools else Message(role="user", content="And once more."),
    )
    body = policy.request_body(State(messages=messages, tools=state.tools), seed=_TRIES)
    try:
        second = await policy.complete(body)
    except (UserError, TeacherError) as error:
        detail = f"refuses a conversation with a turn that it did not take: {error}"
        return Finding(subject="history", passed=False, detail=detail)
    if second.parse_error == CONTEXT_EXCEEDED:
        detail = "a second short turn is too long for its context"
        return Finding(subject="history", passed=None, detail=detail)
    return Finding(subject="history", passed=True, detail="takes turns of its own and of others back")
