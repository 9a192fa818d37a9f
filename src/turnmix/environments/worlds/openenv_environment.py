"""The environment of an OpenEnv server: its tools are ours, its observations text, its rewards a sum.

In: actions, whatever they hold. Out: observations, and at the end a verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from turnmix.core.errors import InfrastructureError
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Step
from turnmix.environments.planner import Call
from turnmix.environments.worlds.environment import TOOL
from turnmix.environments.worlds.openenv_session import OpenEnvSession, Outcome, Refused
from turnmix.scaffold.observation import error, observation_text, printable, quoted
from turnmix.scaffold.scaffold import NOT_EXECUTED, refused

Planner = Callable[[Mapping[str, Any]], Call | None]
"""Asked once in each state, given what was observed."""
_MCP_TITLES = ("Action", "CallToolAction", "ListToolsAction")
"""Schemas of servers whose actions are calls of MCP tools."""
_NOT_OF_THE_AGENT = ("TIMEOUT", "TRANSPORT_ERROR")


class OpenEnvEnvironment:
    """One episode."""

    def __init__(
        self,
        session: OpenEnvSession,
        *,
        schema: Callable[[], Awaitable[Mapping[str, Any]]],
        reset_options: Mapping[str, Any],
        system: str,
        max_turns: int,
        most_characters: int,
        resolved_above: float,
        make_planner: Callable[[Mapping[str, Any]], Planner] | None,
    ) -> None:
        self._session = session
        self._schema = schema
        self._reset_options = reset_options
        self._system = system
        self._max_turns = max_turns
        self._most_characters = most_characters
        self._resolved_above = resolved_above
        self._make_planner = make_planner
        self._planner: Planner | None = None
        self._plan: Call | None = None
        self._tools: dict[str, ToolSpecification] = {}
        self._is_mcp = False
        self._turns = 0
        self._rewards: list[float] = []
        self._unplanned = 0
        self._outcome = Outcome()

    def privileged_view(self) -> Call | None:
        """The call that the user's expert would make now; None: it has nothing to say."""
        return self._plan

    async def reset(self) -> State:
        schema = await self._schema()
        await self._session.open()
        self._outcome = await self._session.reset(self._reset_options)
        self._is_mcp = schema.get("title") in _MCP_TITLES
        tools = await self._mcp_tools() if self._is_mcp else [_acting(schema)]
        self._tools = {tool.name: tool for tool in tools}
        if self._make_planner is not None:
            self._planner = self._make_planner(self._outcome.observation)
        self._look()
        told = self._text(self._outcome.observation)
        prompt = (Message(role="system", content=self._system), Message(role="user", content=told))
        return State(messages=prompt, tools=tuple(tools))

    async def step(self, action: Action) -> Step:
        self._turns += 1
        self._unplanned += self._planner is not None and self._plan is None
        observation = []
        for call in action.message.tool_calls:
            content = NOT_EXECUTED if self._outcome.is_done else await self._answer(call)
            observation.append(Message(role="tool", content=printable(content), tool_call_id=call.id))
        self._look()
        is_spent = self._turns >= self._max_turns
        return Step(
            observation=tuple(observation) or refused(action, error(self._told())),
            stop_reason=StopReason.finished
            if self._outcome.is_done
            else (StopReason.max_turns if is_spent else None),
        )

    async def verify(self, stop_reason: StopReason) -> Verdict:
        reward = sum(self._rewards)
        details = {} if self._make_planner is None else {"states_without_plan": self._unplanned}
        return Verdict(resolved=reward > self._resolved_above, reward=reward, details=details)

    async def close(self) -> None:
        await self._session.close()

    async def _answer(self, call: ToolCall) -> str:
        if call.name not in self._tools or not isinstance(call.arguments, Mapping):
            return error(self._told())
        action = dict(call.arguments)
        if self._is_mcp:
            action = {"type": "call_tool", "tool_name": call.name, "arguments": action}
        try:
            self._outcome = await self._session.step(action)
        except Refused as refusal:
            return error(str(refusal))
        self._rewards.append(self._outcome.reward)
        return self._text(self._outcome.observation)

    async def _mcp_tools(self) -> list[ToolSpecification]:
        try:
            listed = (await self._session.step({"type": "list_tools"})).observation.get("tools")
            tools = [
                ToolSpecification(
                    name=each["name"],
                    description=each.get("description") or "",
                    parameters=each.get("input_schema") or {"type": "object", "properties": {}},
                )
                for each in listed or ()
            ]
        except (Refused, KeyError, TypeError, ValueError, AttributeError) as failed:
            raise InfrastructureError(f"the OpenEnv server lists no tools: {failed}") from failed
        if not tools:
            raise InfrastructureError("the OpenEnv server lists no tools: is it of another protocol?")
        return tools

    def _look(self) -> None:
        if self._planner is not None:
            self._plan = None if self._outcome.is_done else self._planner(self._outcome.observation)

    def _text(self, observation: Mapping[str, Any]) -> str:
        if not self._is_mcp or "tool_name" not in observation:
            return observation_text(_plain(observation), limit=self._most_characters)
        failure = observation.get("error")
        if isinstance(failure, dict):
            if str(failure.get("error_type")).upper() in _NOT_OF_THE_AGENT:
                raise InfrastructureError(f"a tool of the OpenEnv server failed: {failure.get('message')}")
            return error(observation_text(failure.get("message"), limit=self._most_characters))
        return observation_text(_said(observation.get("result")), limit=self._most_characters)

    def _told(self) -> str:
        return f"Call one of {', '.join(quoted(name) for name in self._tools)}, with arguments of its schema."


def _acting(schema: Mapping[str, Any]) -> ToolSpecification:
    """The one tool of a server whose actions have a form of their own."""
    # Every action has room for metadata, which is the caller's and no choice of the agent's.
    properties = {
        name: each for name, each in dict(schema.get("properties") or {}).items() if name != "metadata"
    }
    return ToolSpecification(
        name=TOOL,
        description=str(schema.get("description") or "Do one thing in the world."),
        parameters={"type": "object", **schema, "properties": properties},
    )


def _plain(observation: Mapping[str, Any]) -> Any:
    """An observation of one text is that text."""
    values = list(observation.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else dict(observation)


def _said(result: Any) -> Any:
    """What an MCP tool's result says as text, where it does."""
    parts = result.get("content") if isinstance(result, dict) else None
    if not isinstance(parts, list):
        return result
    texts = [str(each["text"]) for each in parts if isinstance(each, dict) and "text" in each]
    return "\n".join(texts) if texts and len(texts) == len(parts) else result
