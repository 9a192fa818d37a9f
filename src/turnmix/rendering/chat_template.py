"""One model's chat template: messages in, the text that the template writes of them out.

Templates differ in the shape in which they take a message: with the name of the tool that answers, with ids of nine
characters, with arguments as JSON text, without a system message of its own. The first shape that a template does
not fail on is the one it gets. What it shows as today's date is the moment that the run was given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import State
from turnmix.rendering.control_text import ControlTexts, RenderedText
from turnmix.rendering.message_memory import NotPlainError
from turnmix.rendering.response_template import split_thinking
from turnmix.rendering.system_message import without_system
from turnmix.rendering.template_memory import TemplateMemory
from turnmix.rendering.template_trial import complaint_of
from turnmix.rendering.time_limit import limited_in_time

_CLOCK = "strftime_now"
_DIRECTIVES = tuple(f"%{letter}" for letter in "aAbBcdDeFGgHhIjklmMnpPrRsStTuUVwWxXyYzZ")
_UNPADDED = tuple(f"%-{letter}" for letter in "deHIjklmMSUVWy")
_ID_CHARACTERS = 9
_MOST_CHARACTERS = 1 << 26


class TemplateError(Exception):
    """A template fails: what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageShape:
    """How a template wants its messages, where the usual way makes it fail."""

    has_system: bool = True
    """False: what the system says begins the first user's message."""
    names_tools: bool = False
    """True: an answer names the tool."""
    has_short_ids: bool = False
    """True: the ids of calls have nine letters and digits."""
    has_json_arguments: bool = False
    """True: arguments are JSON text."""


_CALL_SHAPES: tuple[dict[str, bool], ...] = tuple(
    {"names_tools": names, "has_short_ids": short, "has_json_arguments": text}
    for text in (False, True)
    for short in (False, True)
    for names in (False, True)
)


class ChatTemplate:
    """Renders for one tokenizer, in one way of calling tools."""

    def __init__(self, tokenizer: Any, *, with_tools: bool, moment: datetime | None = None) -> None:
        """`with_tools`: of several templates choose the one for tools. `moment`: what the template shows as now;
        None: when it renders."""
        self.source = source = _source(tokenizer, with_tools=with_tools)
        self.shape = MessageShape()
        self.reasoning_key: str | None = None
        """Where the template wants the thinking of a message; None: in the content, as it stands."""
        self.control_texts = ControlTexts(())
        """Kept apart from the control tokens that the template writes."""
        self._tokenizer = tokenizer
        self._text = source if moment is None or _CLOCK not in source else _stopped_clock(moment) + source
        self._options = {"enable_thinking": False} if "enable_thinking" in source else {}
        self._memory: TemplateMemory | None = None

    @property
    def special_tokens(self) -> list[str]:
        """Those with a name, such as the end of sequence, as a template is given them."""
        return [token for token in self._tokenizer.special_tokens_map.values() if isinstance(token, str)]

    def complaint(self) -> str | None:
        """Why it is not to be run in this process, as a trial in another one tells; None: nothing is wrong."""
        named = {
            name: token
            for name, token in self._tokenizer.special_tokens_map.items()
            if isinstance(token, str)
        }
        return complaint_of(self._text, tuple(sorted(named.items())))

    def choose_shape(self, plain: Sequence[Message], calling: State | None) -> None:
        """Choose the first shape in which the template takes both conversations: one that begins with a system
        message, and one with calls and their answers, if there are calls."""
        tools = () if calling is None else calling.tools
        self.shape = MessageShape(has_system=self._takes(plain, tools, MessageShape()))
        if calling is None:
            return
        for chosen in _CALL_SHAPES:
            shape = MessageShape(has_system=self.shape.has_system, **chosen)
            if self._takes(calling.messages, tools, shape):
                self.shape = shape
                return

    def remember(self, states: Iterable[State]) -> None:
        """From now on write what is new of a conversation, if the template can be read so: on `states` it must come to
        the same."""
        shape = self.shape
        try:
            memory = TemplateMemory(
                self._tokenizer,
                self._text,
                options=self._options,
                show=lambda message, name: self._shown(message, name, shape),
                finish=_with_json_arguments if shape.has_json_arguments else None,
                control=self.control_texts,
                has_system=shape.has_system,
                names_of=self._names if shape.names_tools else None,
            )
        except (ImportError, AttributeError):
            return
        asked = [(state, generate) for state in states for generate in (True, False)]
        plainly = [self.render(state.messages, state.tools, generate=generate) for state, generate in asked]
        self._memory = memory
        for _ in range(2):
            found = [self.render(state.messages, state.tools, generate=generate) for state, generate in asked]
            if found != plainly:
                self._memory = None
                return

    def render(
        self, messages: Sequence[Message], tools: Sequence[ToolSpecification] = (), *, generate: bool = False
    ) -> RenderedText:
        """What the template writes; `generate`: up to where the assistant goes on.

        Raises:
            TemplateError: it fails on these messages.
        """
        return self._render(messages, tools, generate=generate, shape=self.shape)

    def _takes(
        self, messages: Sequence[Message], tools: Sequence[ToolSpecification], shape: MessageShape
    ) -> bool:
        try:
            self._render(messages, tools, generate=True, shape=shape)
        except TemplateError:
            return False
        return True

    def _render(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpecification],
        *,
        generate: bool,
        shape: MessageShape,
    ) -> RenderedText:
        try:
            with limited_in_time():
                text, marks = self._written(messages, tools, generate=generate, shape=shape)
        except Exception as error:  # a template is somebody else's program, and may raise anything
            raise TemplateError(str(error) or type(error).__name__) from error
        if len(text) > _MOST_CHARACTERS:
            raise TemplateError(f"it writes {len(text):,} characters")
        return self.control_texts.rendered(text, marks)

    def _written(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpecification],
        *,
        generate: bool,
        shape: MessageShape,
    ) -> tuple[str, tuple[str, str] | None]:
        """The text, and the marks in it."""
        if self._memory is not None:
            with suppress(NotPlainError):
                return self._memory.written(messages, tools, generate=generate)
        taken = messages if shape.has_system else without_system(messages)
        names = self._names(taken) if shape.names_tools else [None] * len(taken)
        shown = [self._shown(each, name, shape) for each, name in zip(taken, names, strict=True)]
        marked = self.control_texts.mark(shown)
        given = [_with_json_arguments(each) if shape.has_json_arguments else each for each in marked.messages]
        text: str = self._tokenizer.apply_chat_template(
            given,
            tools=[tool.to_json() for tool in tools] or None,
            chat_template=self._text,
            tokenize=False,
            add_generation_prompt=generate,
            **self._options,
        )
        return text, marked.marks

    def _shown(self, message: Message, name: str | None, shape: MessageShape) -> dict[str, Any]:
        """A message as the template takes it; `name`: of the tool that it answers for."""
        data = message.to_json()
        if self.reasoning_key is not None and message.role == "assistant":
            thinking, data["content"] = split_thinking(message.content)
            if thinking:
                data[self.reasoning_key] = thinking
        if name is not None:
            data["name"] = name
        if shape.has_short_ids:
            _shorten_ids(data)
        return data

    def _names(self, messages: Sequence[Message]) -> list[str | None]:
        """Of each message that answers a call the name of its tool, if the template wants that."""
        names: dict[str, str] = {}
        answered: list[str | None] = []
        for message in messages:
            names.update((call.id, call.name) for call in message.tool_calls)
            answered.append(names.get(message.tool_call_id or "", "") if message.role == "tool" else None)
        return answered


def _source(tokenizer: Any, *, with_tools: bool) -> str:
    """The template itself. Some models (Hermes 2 and 3, Command-R) have several, by name."""
    templates = tokenizer.chat_template
    if isinstance(templates, str):
        return templates
    wanted = ("tool_use", "default") if with_tools else ("default", *sorted(templates))
    source: str = next(
        (templates[name] for name in wanted if name in templates), next(iter(templates.values()))
    )
    return source


def _stopped_clock(moment: datetime) -> str:
    """The function of the clock as a template asks for it, always at `moment`. The template that follows begins on a
    line of its own, as before."""
    told = {directive: moment.strftime(directive) for directive in (*_UNPADDED, *_DIRECTIVES)}
    replaced = "".join(
        f" | replace({json_text(key)}, {json_text(value, ensure_ascii=False)})"
        for key, value in told.items()
        if value != key
    )
    return f"{{% macro {_CLOCK}(format) -%}}{{{{- format{replaced} -}}}}{{%- endmacro %}}\n"


def _shorten_ids(data: dict[str, Any]) -> None:
    if "tool_call_id" in data:
        data["tool_call_id"] = _short_id(data["tool_call_id"])
    if "tool_calls" in data:
        data["tool_calls"] = [{**call, "id": _short_id(call["id"])} for call in data["tool_calls"]]


def _short_id(call_id: str) -> str:
    """
    >>> _short_id("call_0"), len(_short_id("a foreign id of any length"))
    ('call00000', 9)
    """
    if match := re.fullmatch(r"call_(\d{1,5})", call_id):
        return f"call{int(match[1]):05d}"
    return hashlib.sha256(call_id.encode()).hexdigest()[:_ID_CHARACTERS]


def _with_json_arguments(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": _as_json(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _as_json(arguments: Any) -> str:
    return json_text(arguments, ensure_ascii=False)
