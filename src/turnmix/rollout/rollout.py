"""One trajectory: a plan, a world and two policies go in; what happened comes out (paper Alg. 1).

The label of a student turn is asked for beside the turn and waited for after the last one; on a teacher turn
the label is the executed action, one query. An infrastructure failure anywhere makes the whole trajectory an
`infra_error` without a verdict, also that of a single label: which visited states are taught must not depend
on which requests failed. A UserError, or a bug, passes through.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.trajectory import Actor, State, StopReason, Trajectory, Turn, Unfinished, Verdict
from turnmix.core.usage import Usage
from turnmix.environments.environment import Environment
from turnmix.policies.policy import Metered, PolicySession
from turnmix.rollout.labels import LabelGate, Labels
from turnmix.rollout.mixture import Actors
from turnmix.rollout.plan import RolloutPlan

_BEFORE_RESET = State(messages=(), tools=())


class Closable(Protocol):
    """An environment, a session, or the labels in flight."""

    async def close(self) -> None: ...


async def roll_out(
    plan: RolloutPlan,
    *,
    environment: Environment,
    student_session: PolicySession,
    teacher_session: PolicySession | None,
    actors: Actors,
    label: bool | LabelGate,
    attempt: int = 1,
    unfinished: Unfinished = "unresolved",
    clock: Callable[[], float] = time.perf_counter,
) -> Trajectory:
    """Roll out `plan` and close the environment and both sessions, whatever happens.

    `label`: ask the teacher also in the states in which the student acts, or in those that a gate lets through.
    `clock` measures seconds.
    """
    labels = (
        Labels(teacher_session, gate=label, clock=clock) if label and teacher_session is not None else None
    )
    first, turns = _BEFORE_RESET, list[Turn]()
    stop_reason: StopReason | None = None
    verdict: Verdict | None = None
    error: str | None = None
    async with contextlib.AsyncExitStack() as closing:
        # Closed in reverse: the student first, because the rest of its cohort waits for it.
        for thing in (environment, teacher_session, labels, student_session):
            if thing is not None:
                closing.push_async_callback(close_quietly, thing)
        if label and labels is None:
            raise UserError("labels are asked for, but there is no teacher: set `teacher`")
        try:
            first = state = await environment.reset()
            while stop_reason is None:
                actor = actors(len(turns), state)
                acting = student_session if actor == "student" else teacher_session
                if acting is None:
                    raise UserError("the mixture lets a teacher act, but there is none: set `teacher`")
                turn, stop_reason = await _take_turn(
                    len(turns), state, actor, acting, environment, labels, clock
                )
                turns.append(turn)
                state = State(
                    messages=(*state.messages, turn.action.message, *turn.observation), tools=state.tools
                )
            await close_quietly(student_session)
            verdict = await _judged(environment, stop_reason, unfinished)
            if labels is not None:
                turns = await labels.attach(turns)
        except InfrastructureError as failure:
            stop_reason, verdict = StopReason.infra_error, None
            error = f"{type(failure).__name__}: {failure}"
    return Trajectory(
        id=plan.trajectory_id,
        task_id=plan.task.id,
        iteration=plan.iteration,
        seed=plan.seed,
        beta=plan.beta,
        tools=first.tools,
        prompt=first.messages,
        turns=tuple(turns),
        stop_reason=stop_reason,
        verdict=verdict,
        error=error,
        attempts=attempt,
        usage={
            who: _usage(session, who, turns)
            for who, session in (("student", student_session), ("teacher", teacher_session))
            if session is not None
        },
    )


def _usage(session: PolicySession, who: str, turns: Sequence[Turn]) -> Usage:
    """As the session counted it; else by the tokens of its actions and labels."""
    if isinstance(session, Metered):
        return session.usage
    actions = [turn.action for turn in turns if turn.actor == who]
    if who == "teacher":
        actions += [turn.label for turn in turns if turn.actor == "student" and turn.label is not None]
    return Usage(
        input_tokens=sum(action.prompt_tokens or 0 for action in actions),
        output_tokens=sum(action.completion_tokens or 0 for action in actions),
    )


async def _judged(environment: Environment, stop_reason: StopReason, unfinished: Unfinished) -> Verdict:
    """The verdict; one that was not submitted stays so where it is graded all the same."""
    if unfinished == "unresolved" or stop_reason is StopReason.finished:
        return await environment.verify(stop_reason)
    verdict = await environment.verify(StopReason.finished)
    if "submitted" not in verdict.details:
        return verdict
    return replace(verdict, details={**verdict.details, "submitted": False})


async def _take_turn(
    index: int,
    state: State,
    actor: Actor,
    acting: PolicySession,
    environment: Environment,
    labels: Labels | None,
    clock: Callable[[], float],
) -> tuple[Turn, StopReason | None]:
    started = clock()
    if labels is not None and actor == "student":
        labels.ask(index, state)
    await acting.look()
    action = await acting.act(state)
    if labels is not None:
        await labels.looked()
    acted = clock()
    step = await environment.step(action)
    turn = Turn(
        actor=actor,
        action=action,
        observation=step.observation,
        label=action if actor == "teacher" else None,
        seconds={"act": acted - started, "step": clock() - acted},
    )
    return turn, step.stop_reason


async def close_quietly(thing: Closable) -> None:
    """Close; what cannot be closed is dead already, and the outcome of the trajectory stands."""
    with contextlib.suppress(InfrastructureError):
        await thing.close()
