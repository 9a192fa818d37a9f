"""Which format of tool calls a model's template writes; none that is read: the model is refused with what it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnmix.core.message import Message, ToolCall
from turnmix.rendering import probe
from turnmix.rendering.chat_template import ChatTemplate
from turnmix.rendering.formats import OPEN, ToolCallFormat, formats_in
from turnmix.rendering.refusal import Refusal
from turnmix.rendering.response_template import ResponseTemplateFormat

_SHOWN = 80


def formats_of(template: ChatTemplate, tokenizer: Any, refusal: Refusal) -> tuple[ToolCallFormat, ...]:
    """The formats that the template seems to write, the likeliest first; none where the tokenizer alone tells.

    Raises:
        RefusedModelError: nothing tells how calls are read.
    """
    state, turn = probe.BEGINNING, probe.ONE_CALL
    before = template.render(state.messages, state.tools).text
    whole = template.render((*state.messages, turn), state.tools).text
    written = whole.removeprefix(before)
    formats = formats_in(template.source) if OPEN in written else ()
    if formats or getattr(tokenizer, "response_template", None):
        return formats
    raise refusal(
        "has a chat template that writes tool calls in no format that TurnMix reads (Hermes JSON or Qwen3-Coder XML, "
        f"or what its tokenizer's response_template tells): {written[:_SHOWN]!r}",
        "choose a model whose template uses Hermes JSON (Qwen3, Qwen2.5, Hermes) or Qwen3-Coder XML, "
        "or whose tokenizer has a response_template (transformers 5.13 or newer reads it)",
    )


def choose_format(
    formats: tuple[ToolCallFormat, ...],
    tokenizer: Any,
    *,
    generation_prompt: str,
    turn_of: Callable[[Message], str],
) -> ToolCallFormat:
    """The one of `formats`, or the tokenizer's own, that reads what the template writes; the likeliest where none
    does. `turn_of`: a turn as the template writes it, less its end."""

    def written(call: ToolCall) -> str:
        return turn_of(Message(role="assistant", content="", tool_calls=(call,))).strip()

    if getattr(tokenizer, "response_template", None):
        by_tokenizer = ResponseTemplateFormat(tokenizer, generation_prompt=generation_prompt, write=written)
        formats = (*formats, by_tokenizer)
    if len(formats) > 1:
        turn = probe.TURNS[0]
        text = turn_of(turn)
        for format in formats:
            if format.parse(text, probe.BEGINNING.tools).tool_calls == turn.tool_calls:
                return format
    return formats[0]
