"""A policy that plays a script: for experts of worlds, tests, demonstrations and benchmarks.

In: an episode and its state. Out: the action that the script names, after a simulated latency. The script is called
while the environment rests, so an expert reads `episode.privileged_view()` in it.

    >>> actions = [call_action("think", thought="hm"), text_action("done")]
    >>> ScriptedPolicy.of_actions("student", actions).name
    'student'
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, State
from turnmix.policies.policy import Episode

Script = Callable[[Episode, State], Action]
Sleep = Callable[[float], Awaitable[None]]


def call_action(tool: str, /, **arguments: Any) -> Action:
    """The action that calls one tool and says nothing."""
    call = ToolCall(id="call_0", name=tool, arguments=arguments)
    return Action(message=Message(role="assistant", content="", tool_calls=(call,)))


def text_action(text: str) -> Action:
    """The action that says `text` and calls no tool."""
    return Action(message=Message(role="assistant", content=text))


def turn_number(state: State) -> int:
    """How many actions lie behind `state`, counted from 0."""
    return sum(message.role == "assistant" for message in state.messages)


class ScriptedPolicy:
    """Acts as `script` says in each state; whatever `script` raises, `act` raises."""

    def __init__(
        self, name: str, script: Script, *, latency: float = 0.0, sleep: Sleep = asyncio.sleep
    ) -> None:
        """`latency`: simulated seconds of every answer, spent in `sleep`, which may be a fake clock's."""
        self.name = name
        self._script = script
        self._latency = latency
        self._sleep = sleep

    @classmethod
    def of_actions(
        cls, name: str, actions: Sequence[Action], *, latency: float = 0.0, sleep: Sleep = asyncio.sleep
    ) -> ScriptedPolicy:
        """Plays `actions[t]` at turn t of every task, and the last one from then on."""
        if not actions:
            raise ValueError(f"scripted policy {name!r} was given no actions: give at least one")
        return cls(
            name,
            lambda _, state: actions[min(turn_number(state), len(actions) - 1)],
            latency=latency,
            sleep=sleep,
        )

    def begin(self, episode: Episode) -> ScriptedSession:
        return ScriptedSession(episode, self._script, self._latency, self._sleep)

    async def close(self) -> None:
        """Nothing is held."""


class ScriptedSession:
    """A scripted policy in one trajectory."""

    def __init__(self, episode: Episode, script: Script, latency: float, sleep: Sleep) -> None:
        self._episode = episode
        self._script = script
        self._latency = latency
        self._sleep = sleep

    async def look(self) -> None:
        """A script sees the state alone."""

    async def act(self, state: State) -> Action:
        action = self._script(self._episode, state)
        if self._latency > 0:
            await self._sleep(self._latency)
        return action

    async def close(self) -> None:
        """Nothing is held."""
