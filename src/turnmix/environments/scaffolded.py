"""The environment of every task worked on with the scaffold's tools: sandbox, tools, budgets, verifier.

In: actions. Out: observations, and at the end a stop reason and a verdict. What the agent does ends a
trajectory as data; only a failing sandbox or verifier raises.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Step
from turnmix.environments.workspace import workspace_of
from turnmix.environments.workspace_files import write_workspace
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded, SandboxLimitExceeded
from turnmix.scaffold.scaffold import Answer, Scaffold, ScaffoldSettings, refused
from turnmix.scaffold.stuck import HISTORY_NEEDED, Exchange, stuck_pattern

CHARACTERS_PER_TOKEN = 4
Prepare = Callable[[Task, Sandbox], Awaitable[None]]


class Verifier(Protocol):
    """Judges the final state of a sandbox; trusts nothing that the agent left in it."""

    async def __call__(self, task: Task, sandbox: Sandbox, stop_reason: StopReason) -> Verdict:
        """Raises InfrastructureError."""
        ...


class ScaffoldedEnvironment:
    """One trajectory's world. A privileged teacher looks into its sandbox."""

    def __init__(
        self,
        *,
        task: Task,
        sandbox: Sandbox,
        settings: ScaffoldSettings,
        verifier: Verifier,
        prepare: Prepare = write_workspace,
        keeps_processes: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keeps_processes`: what the agent left running is part of the final state, as where it starts a server."""
        self._task = task
        self._sandbox = sandbox
        self._settings = settings
        self._verifier = verifier
        self._prepare = prepare
        self._keeps_processes = keeps_processes
        self._clock = clock
        self._scaffold = Scaffold(
            settings=settings, sandbox=sandbox, working_directory=workspace_of(task).working_directory
        )
        self._seconds_left = settings.wall_seconds
        self._turns = 0
        self._characters = 0
        self._history: deque[Exchange] = deque(maxlen=HISTORY_NEEDED)
        self._is_destroyed = False

    @property
    def sandbox(self) -> Sandbox:
        return self._sandbox

    @property
    def working_directory(self) -> str:
        return workspace_of(self._task).working_directory

    def privileged_view(self) -> Sandbox:
        return self._sandbox

    async def reset(self) -> State:
        await self._sandbox.start()
        await self._prepare(self._task, self._sandbox)
        self._sandbox.pause_lifetime()
        prompt = self._scaffold.prompt(self._task)
        self._characters = sum(len(message.content) for message in prompt)
        return State(messages=prompt, tools=self._scaffold.specifications)

    async def step(self, action: Action) -> Step:
        # Between steps a model is asked, which may take minutes where many ask it: neither budget counts that.
        began = self._clock()
        self._sandbox.resume_lifetime()
        try:
            return await self._step(action, began)
        finally:
            self._sandbox.pause_lifetime()

    async def _step(self, action: Action, began: float) -> Step:
        try:
            answer = await asyncio.wait_for(self._scaffold.execute(action), self._seconds_left)
        except asyncio.TimeoutError:
            told = refused(action, "[The time for this task is over.]")
            return Step(observation=told, stop_reason=StopReason.wall_time)
        except SandboxEnded as ended:
            self._is_destroyed = True
            is_time = isinstance(ended, SandboxLimitExceeded) and ended.limit == "wall_seconds"
            told = refused(action, f"[The machine was stopped: {ended}]")
            return Step(
                observation=told, stop_reason=StopReason.wall_time if is_time else StopReason.limit_exceeded
            )
        self._seconds_left -= self._clock() - began
        self._turns += 1
        self._history.append(Exchange.of(answer.action, answer.observation))
        return Step(
            observation=answer.observation,
            stop_reason=self._stop_reason(action, answer),
            tool_faults=answer.tool_faults,
        )

    async def verify(self, stop_reason: StopReason) -> Verdict:
        if self._is_destroyed:  # there is no final state to judge, and nothing was submitted
            return Verdict(resolved=False, details={"submitted": False})
        self._sandbox.resume_lifetime()
        if not self._keeps_processes:
            await self._scaffold.close()
        return await self._verifier(self._task, self._sandbox, stop_reason)

    async def close(self) -> None:
        try:
            await self._scaffold.close()
        finally:
            await self._sandbox.stop()

    def _stop_reason(self, action: Action, answer: Answer) -> StopReason | None:
        if answer.is_finished:
            return StopReason.finished
        if self._seconds_left <= 0:
            return StopReason.wall_time
        if stuck_pattern(tuple(self._history)) is not None:
            return StopReason.stuck
        if self._tokens(action, answer.observation) >= self._settings.max_tokens:
            return StopReason.max_tokens
        return StopReason.max_turns if self._turns >= self._settings.max_turns else None

    def _tokens(self, action: Action, observation: tuple[Message, ...]) -> float:
        """Tokens of the next state."""
        observed = sum(len(message.content) for message in observation)
        self._characters += _written(action) + observed
        if action.prompt_tokens is None or action.completion_tokens is None:
            return self._characters / CHARACTERS_PER_TOKEN
        return action.prompt_tokens + action.completion_tokens + observed / CHARACTERS_PER_TOKEN


def _written(action: Action) -> int:
    """Characters of an action, its calls' arguments roughly."""
    characters = len(action.message.content)
    for call in action.message.tool_calls:
        values = call.arguments.values() if isinstance(call.arguments, Mapping) else ()
        characters += sum(len(value) if isinstance(value, str) else 8 for value in values)
    return characters
