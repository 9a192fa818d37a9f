"""The scaffold: carries out an agent's action with its tools and answers every call.

In: an `Action`, whatever it holds. Out: the messages that answer it, and whether the agent has finished. An
action is never an error: what cannot be carried out is answered with what would be right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, field_validator

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.settings import NAMES, Settings
from turnmix.core.task import Task
from turnmix.core.trajectory import Action
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.bash import BashTool
from turnmix.scaffold.editor import EditorTool
from turnmix.scaffold.observation import error, is_error, printable, quoted
from turnmix.scaffold.prompt import PromptSettings, prompt_for
from turnmix.scaffold.text_calls import as_user_message, read_calls, tools_told
from turnmix.scaffold.think import Finish, Think
from turnmix.scaffold.tool import Tool, answer, signature

ToolName = Literal["execute_bash", "str_replace_editor", "think", "finish"]

CONTINUE = "Please continue. Call a tool; when the task is done, call finish."
NOT_EXECUTED = "[Not carried out: the trajectory has ended.]"


class ScaffoldSettings(Settings):
    tools: Annotated[tuple[ToolName, ...], NAMES] = ("execute_bash", "str_replace_editor", "think", "finish")
    """The agent's tools, in the order in which it is told of them."""
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
    """A command is interrupted after this time, unless the call names another."""

    @field_validator("tools")
    @classmethod
    def _named_once(cls, tools: tuple[ToolName, ...]) -> tuple[ToolName, ...]:
        if not tools or len(set(tools)) < len(tools):
            raise ValueError(f"name every tool once and at least one, not {list(tools)}")
        return tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an action led to."""

    observation: tuple[Message, ...]
    """One `tool` message a call, in order; or one `user` message."""
    action: Action
    """What was carried out, with the calls that a text held."""
    is_finished: bool = False


class Scaffold:
    """The tools of one trajectory."""

    def __init__(self, *, settings: ScaffoldSettings, sandbox: Sandbox, working_directory: str) -> None:
        self._tools: dict[str, Tool] = {
            name: _make_tool(name, settings=settings, sandbox=sandbox, working_directory=working_directory)
            for name in settings.tools
        }
        self._prompt = prompt_for(settings.prompt)
        self._is_text = settings.tool_calls == "text"
        self._specifications = tuple(tool.specification for tool in self._tools.values())

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
        observation = []
        is_finished = False
        for call in calls:
            content = NOT_EXECUTED
            if not is_finished:
                tool = self._tools.get(call.name)
                content = self._unknown(call.name) if tool is None else await answer(tool, call.arguments)
                is_finished = tool is not None and tool.ends_trajectory and not is_error(content)
            observation.append(Message(role="tool", content=printable(content), tool_call_id=call.id))
        return Answer(action=action, observation=tuple(observation), is_finished=is_finished)

    async def close(self) -> None:
        """Free what the tools hold. Safe to call twice."""
        for tool in self._tools.values():
            await tool.close()

    def _unknown(self, name: str) -> str:
        return error(f"There is no tool {quoted(name)}. {self._tools_told()}")

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


def _make_tool(
    name: ToolName, *, settings: ScaffoldSettings, sandbox: Sandbox, working_directory: str
) -> Tool:
    if name == "execute_bash":
        return BashTool(
            sandbox=sandbox,
            working_directory=working_directory,
            max_observation_characters=settings.max_observation_characters,
            no_output_seconds=settings.no_output_seconds,
            hard_timeout_seconds=settings.hard_timeout_seconds,
        )
    if name == "str_replace_editor":
        return EditorTool(
            sandbox=sandbox,
            working_directory=working_directory,
            max_view_characters=settings.max_view_characters,
        )
    return Think() if name == "think" else Finish()
