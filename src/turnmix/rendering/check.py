"""A renderer is tried before any rollout: a model that cannot be taught is refused, by name and with a remedy.

In: a renderer. Out: nothing, or the first failing check: where calls are native, the template renders the tools,
and every answer of several; the generation prompt is a prefix of the rendered turn; a turn's tokens parse back to
the turn, and end with its one end-of-turn token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnmix.core.errors import UserError
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.rendering import probe

if TYPE_CHECKING:
    from turnmix.rendering.renderer import Renderer


def check_renderer(renderer: Renderer) -> None:
    """
    Raises:
        UserError: one of the checks fails.
    """
    if renderer.tool_calls == "native":
        _check_tools(renderer)
        _check_answers(renderer)
    for state in renderer.probes.states:
        for message in renderer.probes.turns:
            _check_turn(renderer, state, message)


def _check_tools(renderer: Renderer) -> None:
    prompt = renderer.prompt_text(probe.BEGINNING)
    wanted = (probe.TOOL.name, probe.TOOL.description, *probe.TOOL.parameters["properties"])
    if missing := [name for name in wanted if name not in prompt]:
        raise refusal(
            renderer,
            f"has a chat template that leaves out the tools: {missing[0]!r} is not in the prompt",
            "choose a model trained for tools",
        )


def _check_answers(renderer: Renderer) -> None:
    prompt = renderer.prompt_text(probe.AFTER_TWO_ANSWERS)
    for answer in (probe.FIRST_ANSWER, probe.SECOND_ANSWER):
        if answer not in prompt:
            raise refusal(
                renderer,
                f"has a chat template that leaves out {answer!r} of two tool answers in a row",
                "choose a model whose template takes several tool messages",
            )


def _check_turn(renderer: Renderer, state: State, message: Message) -> None:
    target = renderer.target_ids(state, Action(message=message))
    read = renderer.parse(target, state.tools)
    if (read.message, read.parse_error) != (message, None):
        text = renderer.target_text(state, message)
        back = read.parse_error or read.message.to_json()
        raise refusal(
            renderer,
            f"writes {message.to_json()} as {text!r}, which reads back as {back}",
            f"choose a model whose template writes {renderer.format.name} calls, and whose tokenizer "
            "gives a text back as it was",
        )
    if renderer.stop_ids & set(target[:-1]) or target[-1] != renderer.end_of_turn_id:
        raise refusal(
            renderer,
            f"renders a turn with an end in its middle: {renderer.target_text(state, message)!r}",
            "choose a model whose template ends a turn with one special token",
        )


def refusal(renderer: Renderer, complaint: str, remedy: str) -> UserError:
    """The error of a model that cannot act here."""
    return UserError(f"{renderer.field}: {renderer.model_name!r} {complaint}; {remedy}")
