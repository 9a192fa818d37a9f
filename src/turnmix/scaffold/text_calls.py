"""Tool calls as text, for models and endpoints that know none: described in the prompt, read from the answer.

In: tools, and what an agent wrote. Out: a part of the prompt, the calls in a text, answers as a user's message.
The conversation then holds nothing but text, which every template and every endpoint takes.

>>> from turnmix.scaffold.think import Finish
>>> tools = (Finish().specification,)
>>> text = '<tool_call>{"name": "finish", "arguments": {"message": ""}}</tool_call>'
>>> read_calls(Action(message=Message(role="assistant", content=text)), tools).message.tool_calls[0].name
'finish'
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from turnmix.core.json_text import json_text, json_value
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Action, Trajectory
from turnmix.rendering.formats import HermesFormat, example_call

_FORMAT = HermesFormat()
_INTRODUCTION = "These are your tools, each with a JSON schema of its arguments:\n\n"


def tools_told(tools: Sequence[ToolSpecification]) -> str:
    """The part of a prompt that describes the tools and how to call them."""
    described = "\n".join(json_text(tool.to_json()["function"], ensure_ascii=False) for tool in tools)
    return (
        f"{_INTRODUCTION}{described}\n\n"
        f"Call a tool by writing this, with its name and arguments in their places:\n\n"
        f"{_FORMAT.write(example_call(tools))}\n\nThe answer comes as the next message."
    )


def tools_in(messages: Sequence[Message]) -> tuple[ToolSpecification, ...]:
    """The tools that `tools_told` described in the first messages of a conversation; none where it did not.

    >>> from turnmix.scaffold.think import Finish
    >>> told = Message(role="system", content="You repair.\\n\\n" + tools_told((Finish().specification,)))
    >>> [tool.name for tool in tools_in((told,))], tools_in(())
    (['finish'], ())
    """
    for message in messages:
        _, introduction, told = message.content.partition(_INTRODUCTION)
        if introduction:
            described = told.partition("\n\n")[0].split("\n")
            with contextlib.suppress(ValueError, TypeError):  # a problem's text may hold the same words
                return tuple(ToolSpecification(**json_value(line)) for line in described)
    return ()


class KnownTools(NamedTuple):
    """What an agent may call in one state."""

    tools: tuple[ToolSpecification, ...]
    are_on_offer: bool
    """False: they are described in its first messages, or there are none."""


def known_tools(trajectory: Trajectory) -> list[KnownTools]:
    """Those of each turn; they change where a line begins."""
    known: list[KnownTools] = []
    for number, turn in enumerate(trajectory.turns):
        if turn.opening is not None:
            state = trajectory.state(number)
            known.append(_known(state.tools, state.messages))
        else:
            known.append(known[-1] if known else _known(trajectory.tools, trajectory.prompt))
    return known


def _known(tools: tuple[ToolSpecification, ...], messages: Sequence[Message]) -> KnownTools:
    return KnownTools(tools or tools_in(messages), bool(tools))


def read_calls(action: Action, tools: Sequence[ToolSpecification]) -> Action:
    """The action with the calls that its text holds. A malformed call becomes its `parse_error`."""
    if action.message.tool_calls or action.parse_error is not None:
        return action
    parsed = _FORMAT.parse(action.message.content, tools)
    message = replace(action.message, content=parsed.content, tool_calls=parsed.tool_calls)
    return replace(action, message=message, parse_error=parsed.error)


def as_user_message(answers: Sequence[Message]) -> tuple[Message, ...]:
    """Answers to calls as the one message that a conversation without calls can hold."""
    return (Message(role="user", content="\n\n".join(answer.content for answer in answers)),)
