"""The scaffold: carries out an agent's action with its tools and answers every call.

In: an `Action`, whatever it holds. Out: the messages that answer it, and whether the agent has finished. An
action is never an error: what cannot be carried out is answered with what would be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer

from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.settings import NAMES, Settings
from turnmix.core.task import Task
from turnmix.core.tool_fault import ToolFault
from turnmix.core.trajectory import Action
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.observation import error, printable, quoted
from turnmix.scaffold.prompt import PromptSettings, prompt_for
from turnmix.scaffold.text_calls import as_user_message, read_calls, tools_told
from turnmix.scaffold.tool import Tool, ToolParts
from turnmix.scaffold.tool_call import ToolAnswer, answer, close, opened, signature
from turnmix.scaffold.tool_choice import ALL_BUILT_IN, ToolChoices, as_given

CONTINUE = "Please continue. Call a tool; when the task is done, call finish."
NOT_EXECUTED = "[Not carried out: the trajectory has ended.]"


class ScaffoldSettings(Settings):
    tools: Annotated[ToolChoices, NAMES] = ALL_BUILT_IN
    """The agent's tools, in the order in which it is told of them; {kind: package.module:Name, …} gives one of your own
    its settings."""
    tool_calls: Literal["native", "text"] = "native"
    """native: as the model's own template, or its endpoint, writes calls. text: for models and endpoints that
    know no tools: they are described in the prompt, and calls and answers are plain text."""
    prompt: PromptSettings = PromptSettings()
    """The first messages."""
    max_turns: int = Field(default=30, ge=1)
    """Turns of one trajectory."""
    max_tokens: int = Field(default=32_768, ge=1)
    """Tokens of the conversation, as the policy counts them; else a quarter of its characters."""
    wall_seconds: float = Field(default=1800.0, gt=0)
    """Time of one trajectory's own doing, from its first state: how long a model takes to answer does not count."""
    max_observation_characters: int = Field(default=30_000, ge=200)
    """Of a command's output: the first and the last half of it are kept."""
    max_view_characters: int = Field(default=16_000, ge=200)
    """Of what the editor shows: the beginning is kept."""
    no_output_seconds: float = Field(default=10.0, gt=0)
    """A command without new output for so long is left running and the agent is asked."""
    hard_timeout_seconds: float = Field(default=120.0, gt=0)
    """A command is interrupted after this time, unless the call names another; so is a call of a tool of your own."""

    @property
    def specifications(self) -> tuple[ToolSpecification, ...]:
        """What the agent is told of its tools."""
        return tuple(tool.specification for tool in self.tools)

    @field_serializer("tools")
    def _tools_as_given(self, tools: Sequence[Tool]) -> list[Any]:
        return [as_given(tool) for tool in tools]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an action led to."""

    observation: tuple[Message, ...]
    """One `tool` message a call, in order; or one `user` message."""
    action: Action
    """What was carried out, with the calls that a text held."""
    is_finished: bool = False
    tool_faults: tuple[ToolFault, ...] = ()
    """Tools that failed; the observation tells the agent."""


class Scaffold:
    """The tools of one trajectory."""

    def __init__(self, *, settings: ScaffoldSettings, sandbox: Sandbox, working_directory: str) -> None:
        parts = ToolParts(
            sandbox=sandbox,
            working_directory=working_directory,
            max_observation_characters=settings.max_observation_characters,
            max_view_characters=settings.max_view_characters,
            no_output_seconds=settings.no_output_seconds,
            hard_timeout_seconds=settings.hard_timeout_seconds,
        )
        self._tools = {tool.specification.name: opened(tool, parts) for tool in settings.tools}
        self._prompt = prompt_for(settings.prompt)
        self._is_text = settings.tool_calls == "text"
        self._specifications = settings.specifications

    @property
    def specifications(self) -> tuple[ToolSpecification, ...]:
        """The tools on offer beside the messages; none where the messages describe them."""
        return () if self._is_text else self._specifications

    def prompt(self, task: Task) -> tuple[Message, ...]:
        messages = self._prompt.messages(task)
        if not self._is_text:
            return messages
        system = [message.content for message in messages if message.role == "system"]
        told = Message(role="system", content="\n\n".join([*system, tools_told(self._specifications)]))
        return (told, *(message for message in messages if message.role != "system"))

    async def execute(self, action: Action) -> Answer:
        """Carry out an action. Raises InfrastructureError only."""
        if not self._is_text:
            return await self._carry_out(action)
        answer = await self._carry_out(read_calls(action, self._specifications))
        return replace(answer, observation=as_user_message(answer.observation))

    async def _carry_out(self, action: Action) -> Answer:
        calls = action.message.tool_calls
        if action.parse_error is not None:
            problem = (
                f"Your tool call could not be read: {printable(action.parse_error)}\n{self._tools_told()}"
            )
            return Answer(action=action, observation=refused(action, error(problem), without_call=problem))
        if not calls:
            return Answer(action=action, observation=(Message(role="user", content=CONTINUE),))
        observation, faults = [], []
        is_finished = False
        for call in calls:
            content = NOT_EXECUTED
            if not is_finished:
                answered = await self._answer(call)
                content, is_finished = answered.content, answered.ends_trajectory
                faults += [answered.fault] if answered.fault is not None else []
            observation.append(Message(role="tool", content=printable(content), tool_call_id=call.id))
        return Answer(
            action=action, observation=tuple(observation), is_finished=is_finished, tool_faults=tuple(faults)
        )

    async def _answer(self, call: ToolCall) -> ToolAnswer:
        tool = self._tools.get(call.name)
        if tool is None:
            return ToolAnswer(content=error(f"There is no tool {quoted(call.name)}. {self._tools_told()}"))
        return await answer(tool, call.arguments)

    async def close(self) -> None:
        """Free what the tools hold. Safe to call twice. Raises InfrastructureError only."""
        for tool in self._tools.values():
            await close(tool)

    def _tools_told(self) -> str:
        return "The tools are: " + ", ".join(
            signature(specification) for specification in self._specifications
        )


def refused(action: Action, content: str, *, without_call: str | None = None) -> tuple[Message, ...]:
    """`content` in answer to every call of an action that was not carried out; if there is no call, a `user`
    message with `without_call`, or with `content` where that is not given."""
    calls = action.message.tool_calls
    if not calls:
        return (Message(role="user", content=content if without_call is None else without_call),)
    return tuple(Message(role="tool", content=content, tool_call_id=call.id) for call in calls)
