"""A renderer is tried before any rollout: a model that cannot be taught is refused, by name and with a remedy.

In: a template, then the renderer made with it. Out: nothing, or the first failing check. The template takes each kind
of message, from the simplest on, so that the first that it fails on is the reason; where calls are native, it shows
the tools and every answer of several. The generation prompt is a prefix of the rendered turn; a turn's tokens are
those of its text behind the prompt, parse back to the turn, and end with its one end-of-turn token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from turnmix.core.errors import UserError
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Action, State
from turnmix.rendering import probe
from turnmix.rendering.chat_template import ChatTemplate, TemplateError
from turnmix.rendering.refusal import Refusal

if TYPE_CHECKING:
    from turnmix.rendering.renderer import Renderer

_SHOWN = 60
_TOOL_MODEL = "choose a model trained for tools, such as Qwen3 or Qwen2.5"


def check_template(template: ChatTemplate, refusal: Refusal, *, with_tools: bool) -> None:
    """Choose the shape in which the template takes messages, and try it on conversations of each kind.

    Raises:
        RefusedModelError: it fails on one of them, or shows too little of it.
    """
    if complaint := template.complaint():
        raise refusal(f"has a chat template that {complaint}", "choose a model whose template you can trust")
    called = probe.AFTER_ONE_ANSWER
    plain = probe.TEXT.after_an_answer.messages
    template.choose_shape(plain, called if with_tools else None)
    # A template for tools may want them in every conversation.
    tools = called.tools if with_tools else ()

    def must_take(messages: Sequence[Message], what: str) -> str:
        try:
            return template.render(messages, tools, generate=messages[-1].role != "assistant").text
        except TemplateError as error:
            raise refusal(
                f"has a chat template that fails on {what}: {error}",
                _TOOL_MODEL if with_tools else "choose an instruct model of text",
            ) from error

    must_take(plain[:2], "a user's message")
    shown = must_take(plain, "a conversation of several turns")
    for message in plain:
        if message.content not in shown:
            raise refusal(
                f"has a chat template that leaves out the text {message.content[:_SHOWN]!r} of role {message.role}",
                "choose an instruct model of text",
            )
    if not with_tools:
        return
    prompt = must_take(probe.BEGINNING.messages, "tools")
    wanted = (probe.TOOL.name, probe.TOOL.description, *probe.TOOL.parameters["properties"])
    if missing := [name for name in wanted if name not in prompt]:
        raise refusal(
            f"has a chat template that leaves out the tools: {missing[0]!r} is not in the prompt", _TOOL_MODEL
        )
    must_take(called.messages[:-1], "a turn that calls a tool")
    must_take(called.messages, "a tool's answer")
    two = probe.AFTER_TWO_ANSWERS.messages
    must_take(two[:-2], "two calls in one turn")
    prompt = must_take(two, "the answers to two calls")
    for answer in (probe.FIRST_ANSWER, probe.SECOND_ANSWER):
        if answer not in prompt:
            raise refusal(
                f"has a chat template that leaves out {answer!r} of two tool answers in a row", _TOOL_MODEL
            )
    must_take(probe.AFTER_A_USER.messages, "a user's message behind turns that called tools")


def check_renderer(renderer: Renderer) -> None:
    """
    Raises:
        RefusedModelError: one of the checks fails.
    """
    for state in renderer.probes.states:
        for message in renderer.probes.turns:
            _check_turn(renderer, state, message)


def check_tools(renderer: Renderer, tools: Sequence[ToolSpecification]) -> None:
    """
    Raises:
        RefusedModelError: the template cannot show one of these tools, whose schemas may hold anything.
    """
    for tool in tools if renderer.tool_calls == "native" else ():
        try:
            shown = renderer.prompt_text(State(messages=probe.BEGINNING.messages, tools=(tool,)))
            complaint = "" if tool.name in shown else "leaves it out"
        except UserError as error:
            complaint = f"fails on its schema: {error.__cause__ or error}"
        if complaint:
            raise renderer.refusal(
                f"has a chat template that cannot show the tool {tool.name}: it {complaint}",
                "annotate its call with simpler types, or set scaffold.tool_calls=text",
            )


def _check_turn(renderer: Renderer, state: State, message: Message) -> None:
    target = renderer.target_ids(state, Action(message=message))
    text = renderer.target_text(state, message)
    read = renderer.parse(target, state.tools)
    if (read.message, read.parse_error) != (message, None):
        complaint, remedy = _difference(renderer, message, read, text)
        raise renderer.refusal(complaint, remedy)
    if renderer.stop_ids & set(target[:-1]) or target[-1] != renderer.end_of_turn_id:
        raise renderer.refusal(
            f"renders a turn with an end in its middle: {text!r}",
            "choose a model whose template ends a turn with one special token",
        )
    if not renderer.stands_behind_prompt(state, message, target):
        raise renderer.refusal(
            f"has a tokenizer that writes a turn's beginning {text[:20]!r} otherwise behind the prompt's end "
            f"{renderer.prompt_text(state)[-20:]!r} than a student can that acts there",
            "choose a model whose generation prompt ends where a token ends",
        )


def _difference(renderer: Renderer, message: Message, read: Action, text: str) -> tuple[str, str]:
    """What a rendered turn lost on its way back, and a remedy."""
    if message.content not in text:
        return (
            f"has a chat template that leaves out the text {message.content!r} of a turn that calls a tool: "
            f"it writes {text!r}",
            "choose a model whose template writes a turn's text beside its calls, such as Qwen3 or Qwen2.5",
        )
    more = read.message.content.replace(message.content, "…", 1)
    if not message.tool_calls and message.content in read.message.content:
        return (
            f"has a chat template that puts more than space around a turn's text: {more[:_SHOWN]!r}",
            "choose a model whose template writes a turn's text as it is, or whose tokenizer has a "
            "response_template that tells what is text",
        )
    back = read.parse_error or read.message.to_json()
    return (
        f"writes {message.to_json()} as {text!r}, which reads back as {back}",
        f"choose a model whose template writes {renderer.format.name} calls, and whose tokenizer "
        "gives a text back as it was",
    )
