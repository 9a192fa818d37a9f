"""One trajectory: a plan, a world and two policies go in; what happened comes out (paper Alg. 1).

The label of a student turn is asked for beside the turn and waited for after the last one. An infrastructure failure
anywhere makes the whole trajectory an `infra_error` without a verdict, also that of a single label: which visited
states are taught must not depend on which requests failed. A UserError, or a bug, passes through.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from turnmix.core.errors import InfrastructureError
from turnmix.core.trajectory import State, StopReason, Trajectory, Unfinished
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Environment
from turnmix.policies.policy import PolicySession
from turnmix.rollout.accidents import PendingAccident
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Actors
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.turn_recorder import TakesOver, TurnRecorder, close_quietly

_BEFORE_RESET = State(messages=(), tools=())


async def roll_out(
    plan: RolloutPlan,
    *,
    environment: Environment,
    student_session: PolicySession,
    teacher_session: PolicySession | None,
    actors: Actors,
    label: bool | LabelGate,
    accident: PendingAccident | None = None,
    takes_over: TakesOver | None = None,
    attempt: int = 1,
    unfinished: Unfinished = "unresolved",
    clock: Callable[[], float] = time.perf_counter,
) -> Trajectory:
    """Roll out `plan` and close the environment, the sessions and the accident, whatever happens. `label`, `accident`,
    `takes_over` and `clock` are those of a `TurnRecorder`."""
    recorder = TurnRecorder(
        student=student_session,
        teacher=teacher_session,
        actors=actors,
        label=label,
        accident=accident,
        takes_over=takes_over,
        clock=clock,
    )
    first = _BEFORE_RESET
    stop_reason: StopReason | None = None
    verdict: Verdict | None = None
    error: str | None = None
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(close_quietly, environment)
        closing.push_async_callback(recorder.close)
        try:
            first = state = await environment.reset()
            while stop_reason is None:
                action = await recorder.act(state)
                step = await environment.step(action)
                recorder.observe(step.observation, tool_faults=step.tool_faults)
                state = State(
                    messages=(*state.messages, action.message, *step.observation), tools=state.tools
                )
                stop_reason = step.stop_reason
            await recorder.dismiss_student()
            verdict = await judged(environment, stop_reason, unfinished)
            await recorder.attach_labels()
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
        turns=recorder.turns,
        stop_reason=stop_reason,
        verdict=verdict,
        error=error,
        attempts=attempt,
        usage=recorder.usage,
    )


async def judged(environment: Environment, stop_reason: StopReason, unfinished: Unfinished) -> Verdict:
    """The verdict; one that was not submitted stays so where it is graded all the same."""
    if unfinished == "unresolved" or stop_reason is StopReason.finished:
        return await environment.verify(stop_reason)
    verdict = await environment.verify(StopReason.finished)
    if "submitted" not in verdict.details:
        return verdict
    return replace(verdict, details={**verdict.details, "submitted": False})
