"""The environment of a text world: one tool, a budget of turns, and a planner's view for its expert.

In: actions, whatever they hold. Out: observations, and at the end a verdict. A library that fails is an
InfrastructureError, never a reward of 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TypeVar

from turnmix.core.errors import InfrastructureError, TurnMixError, first_line
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Step
from turnmix.environments.planner import Call
from turnmix.environments.worlds.game import Game, Scene
from turnmix.scaffold.observation import error, printable
from turnmix.scaffold.scaffold import NOT_EXECUTED, refused

TOOL = "act"
ARGUMENT = "action"
Result = TypeVar("Result")


class WorldEnvironment:
    """One trajectory in a text world. Its expert is shown the planner's act."""

    def __init__(self, task: Task, game: Game, *, max_turns: int, thread: Executor, makers: Executor) -> None:
        """`thread`: where games are played; `makers`: where they are made."""
        self._task = task
        self._game = game
        self._max_turns = max_turns
        self._thread = thread
        self._makers = makers
        self._turns = 0
        self._reward = 0.0
        self._scene = Scene(text="")
        self._unplanned = 0
        self._has_given_up = False

    def privileged_view(self) -> Call | None:
        """What the planner would do now: to give up, where it finds no way to win. None: it has nothing to say."""
        act = self._scene.plan or (self._game.gives_up if self._game.has_planner else None)
        return None if act is None else (TOOL, {ARGUMENT: act})

    def possible_acts(self) -> tuple[str, ...]:
        """What can be done now, as far as the game tells, but to give up."""
        return tuple(act for act in self._scene.acts or self._game.acts if act != self._game.gives_up)

    async def reset(self) -> State:
        await self._outside(self._game.prepare, self._makers)
        self._scene = await self._outside(self._game.start)
        prompt = (
            Message(role="system", content=self._game.system),
            Message(role="user", content=printable(self._scene.text)),
        )
        return State(messages=prompt, tools=(_tool(self._game.acts),))

    async def step(self, action: Action) -> Step:
        self._turns += 1
        if not self._scene.is_over and self._scene.plan is None:
            self._unplanned += 1
        observation = []
        for call in action.message.tool_calls:
            told = await self._answer(call.name, call.arguments)
            observation.append(Message(role="tool", content=printable(told), tool_call_id=call.id))
        return Step(
            observation=tuple(observation) or refused(action, error(self._told())),
            stop_reason=self._stop_reason(),
        )

    async def verify(self, stop_reason: StopReason) -> Verdict:
        is_won = self._game.is_won(self._reward) and not self._has_given_up
        details = dict(self._scene.details)
        if self._game.has_planner:
            details["states_without_plan"] = self._unplanned
        return Verdict(resolved=is_won, reward=self._reward, details=details)

    async def close(self) -> None:
        await self._outside(self._game.close)

    async def _answer(self, tool: str, arguments: object) -> str:
        if self._is_ended():
            return NOT_EXECUTED
        act = arguments.get(ARGUMENT) if tool == TOOL and isinstance(arguments, Mapping) else None
        act = act.strip() if isinstance(act, str) else None
        if act and act == self._game.gives_up:
            self._has_given_up = True
            return "You gave up."
        if not act or not self._game.takes(act):
            return error(self._told())
        self._scene = await self._outside(lambda: self._game.act(act))
        self._reward += self._scene.reward
        return self._scene.text

    def _is_ended(self) -> bool:
        return self._scene.is_over or self._has_given_up

    def _stop_reason(self) -> StopReason | None:
        if self._is_ended() and not self._scene.is_out_of_time:
            return StopReason.finished
        is_spent = self._turns >= self._max_turns or self._scene.is_out_of_time
        return StopReason.max_turns if is_spent else None

    def _told(self) -> str:
        choices = ": " + ", ".join(self._game.acts) if self._game.acts else ", a text"
        return f"Call {TOOL} with {ARGUMENT}{choices}."

    async def _outside(self, call: Callable[[], Result], where: Executor | None = None) -> Result:
        """What `call` returns, outside of the event loop. Raises InfrastructureError: the library failed."""
        try:
            return await asyncio.get_running_loop().run_in_executor(where or self._thread, call)
        except TurnMixError:
            raise
        except Exception as failed:
            raise InfrastructureError(
                f"task {self._task.id}: its world failed: {type(failed).__name__}: {first_line(failed)}"
            ) from failed


def _tool(acts: tuple[str, ...]) -> ToolSpecification:
    argument = {"type": "string", **({"enum": list(acts)} if acts else {})}
    return ToolSpecification(
        name=TOOL,
        description="Do one thing in the world.",
        parameters={"type": "object", "properties": {ARGUMENT: argument}, "required": [ARGUMENT]},
    )
