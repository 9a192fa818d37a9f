"""One trajectory in a taskset of verifiers: its rollout waits for each turn, its rewards are the verdict.

In: actions, whatever they hold. Out: what its tools answer, and at the end the sum of its weighted rewards. A rollout
that failed, or a reward that was not given, is an InfrastructureError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from turnmix.core.errors import InfrastructureError
from turnmix.core.json_text import json_text, json_value
from turnmix.core.message import Message, Role, ToolCall, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Step
from turnmix.environments.planner import Plan
from turnmix.environments.verifiers.exchange import Exchange
from turnmix.environments.verifiers.library import Library
from turnmix.scaffold.observation import observation_text, printable

Planner = Callable[[Sequence[Mapping[str, Any]]], Plan]
"""Asked once in each state, given the conversation."""


class VerifiersEnvironment:
    """One rollout."""

    def __init__(
        self,
        library: Library,
        task: Task,
        *,
        resolved_above: float,
        make_planner: Callable[[Mapping[str, Any]], Planner] | None,
    ) -> None:
        self._library = library
        self._task = task
        self._resolved_above = resolved_above
        self._make_planner = make_planner
        self._planner: Planner | None = None
        self._plan: Plan = None
        self._exchange: Exchange | None = None
        self._seen = 0

    def privileged_view(self) -> Plan:
        """What the user's expert would do now."""
        return self._plan

    async def reset(self) -> State:
        index = self._task.fields["index"]
        if self._make_planner is not None:
            self._planner = self._make_planner(self._library.tasks[index].data.model_dump(mode="json"))
        self._exchange = await self._library.begin(index)
        if not await self._library.asked(self._exchange.asked.get()):
            await self._episode()
            raise self._failed("it ended before its first turn")
        prompt = self._new_messages()
        tools = tuple(_specification(tool) for tool in self._exchange.tools)
        return State(messages=tuple(prompt), tools=tools)

    async def step(self, action: Action) -> Step:
        exchange = self._running()
        await self._library.asked(_put(exchange, _wire(action)))
        self._seen += 1  # the turn itself
        goes_on = await self._library.asked(exchange.asked.get())
        observation = tuple(self._new_messages())
        if goes_on:
            return Step(observation=observation)
        trace = (await self._episode()).traces[0]
        is_spent = trace.stop_condition == "max_turns"
        return Step(
            observation=observation, stop_reason=StopReason.max_turns if is_spent else StopReason.finished
        )

    async def verify(self, stop_reason: StopReason) -> Verdict:
        exchange = self._running()
        await self._library.asked(_stop(exchange, stop_reason.value))
        trace = (await self._episode()).traces[0]
        if not trace.rewards:
            raise self._failed("its taskset gives no reward: it cannot be trained on or evaluated")
        rewards = {name: None if each is None else each.value for name, each in trace.rewards.items()}
        if missing := [name for name, value in rewards.items() if value is None]:
            is_late = trace.stop_condition == "scoring_timeout"
            late = " within tasks.scoring_seconds" if is_late else ""
            raise self._failed(f"its reward {missing[0]} was not given{late}")
        reward = float(trace.reward)
        details = {"rewards": rewards, "metrics": dict(trace.metrics), "stop": trace.stop_condition}
        return Verdict(resolved=reward > self._resolved_above, reward=reward, details=details)

    async def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await self._library.asked(_cancel(exchange))

    async def _episode(self) -> Any:
        """The rollout, ended and scored. Raises InfrastructureError: it failed."""
        try:
            episode = await self._library.asked(_ended(self._running()))
        except Exception as failed:
            raise self._failed(f"{type(failed).__name__}: {failed}") from failed
        errors = [*episode.errors, *(error for trace in episode.traces for error in trace.errors)]
        if not episode.ok or errors or not episode.traces:
            raise self._failed(
                "; ".join(f"{error.type}: {error.message}" for error in errors) or "it is not ok"
            )
        return episode

    def _new_messages(self) -> list[Message]:
        """What the conversation has that was not seen before, the agent's own turns left out."""
        messages = self._running().messages[self._seen :]
        self._seen += len(messages)
        if self._planner is not None:
            self._plan = self._planner([dict(message) for message in self._running().messages])
        return [_message(message) for message in messages]

    def _running(self) -> Exchange:
        if self._exchange is None:
            raise self._failed("it is closed")
        return self._exchange

    def _failed(self, told: str) -> InfrastructureError:
        return InfrastructureError(
            f"task {self._task.id}: its rollout in verifiers failed: {' '.join(told.split())[:800]}"
        )


async def _put(exchange: Exchange, message: Mapping[str, Any]) -> None:
    exchange.answers.put_nowait(message)


async def _stop(exchange: Exchange, reason: str) -> None:
    exchange.stopped_by = reason
    exchange.stopped.set()


async def _ended(exchange: Exchange) -> Any:
    assert exchange.run is not None
    return await exchange.run


async def _cancel(exchange: Exchange) -> None:
    if exchange.run is not None:
        exchange.run.cancel()


def _wire(action: Action) -> dict[str, Any]:
    """An action as an endpoint would write it."""
    message: dict[str, Any] = {"role": "assistant", "content": printable(action.message.content)}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {
                "name": printable(call.name),
                "arguments": printable(json_text(_plain(call.arguments), ensure_ascii=False)),
            },
        }
        for call in action.message.tool_calls
    ]
    return {**message, "tool_calls": calls} if calls else message


def _plain(arguments: Any) -> Any:
    return dict(arguments) if isinstance(arguments, Mapping) else arguments


def _message(message: Mapping[str, Any]) -> Message:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if any(not isinstance(part, str) for part in parts):
            raise InfrastructureError(
                "a message of verifiers holds what is no text: TurnMix plays tasksets of text"
            )
        content = "\n".join(map(str, parts))
    role: Role = message["role"]
    calls = tuple(
        ToolCall(
            id=call["id"], name=call["function"]["name"], arguments=json_value(call["function"]["arguments"])
        )
        for call in message.get("tool_calls") or ()
    )
    return Message(
        role=role,
        content=observation_text(content, limit=None) if role == "tool" else printable(content or ""),
        tool_calls=calls,
        tool_call_id=message.get("tool_call_id"),
    )


def _specification(tool: Mapping[str, Any]) -> ToolSpecification:
    function = tool["function"]
    return ToolSpecification(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
    )
