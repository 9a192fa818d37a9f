"""One chat template that writes each message of a growing conversation once.

In: messages and tools. Out: to the letter what transformers makes of them with that template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from turnmix.core.json_text import json_value
from turnmix.core.message import Message, ToolSpecification
from turnmix.rendering.control_text import ControlTexts
from turnmix.rendering.loop_memory import LoopMemory
from turnmix.rendering.message_memory import MessageMemory, NotPlainError, is_plain
from turnmix.rendering.system_message import without_system

_MOST_TOOLS = 64
_MOST_FORMS = 1024
_AS_JSON = "{{ messages | tojson }}"
_TOOLS_AS_JSON = "{{ tools | tojson }}"


class TemplateMemory:
    """Threads may share it."""

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        *,
        options: Mapping[str, Any],
        show: Callable[[Message, str | None], dict[str, Any]],
        control: ControlTexts,
        has_system: bool,
        names_of: Callable[[Sequence[Message]], Sequence[str | None]] | None,
        finish: Callable[[dict[str, Any]], dict[str, Any]] | None,
    ) -> None:
        """
        options: what the template is given beside the conversation
        show: see `MessageMemory`
        has_system: False: what the system says begins the first user's message
        names_of: the names that `show` is given; None: none
        finish: what becomes of a message at last

        Raises:
            ImportError: transformers keeps the environment of its templates elsewhere.
        """
        from transformers.utils.chat_template_utils import _compile_jinja_template

        self._tokenizer = tokenizer
        self._has_system = has_system
        self._names_of = names_of
        self._finish = finish
        self._given = {**tokenizer.special_tokens_map, **options, "documents": None}
        names = (*self._given, "messages", "tools", "add_generation_prompt")
        self._loops = LoopMemory(_compile_jinja_template(template).environment, template, given=names)
        self._messages = MessageMemory(show=show, see=self._seen, control=control)
        self._tools: dict[tuple[int, ...], tuple[Sequence[ToolSpecification], Any]] = {}
        self._unchanged: set[Any] = set()
        """Forms of messages that transformers leaves as they are."""
        self._joined: dict[tuple[int, ...], tuple[Sequence[Message], Message]] = {}

    def written(
        self, messages: Sequence[Message], tools: Sequence[ToolSpecification], *, generate: bool
    ) -> tuple[str, tuple[str, str] | None]:
        """What the template writes, and the marks around control text in it. Raises what the template raises.

        Raises:
            NotPlainError: the conversation holds what JSON does not.
        """
        taken = messages if self._has_system else self._without_system(messages)
        if not taken:
            raise NotPlainError
        names = self._names_of(taken) if self._names_of is not None else [None] * len(taken)
        marked = self._messages.shown(taken, names)
        variables = {
            **self._given,
            "messages": marked.messages,
            "tools": self._shown_tools(tools),
            "add_generation_prompt": generate,
        }
        return self._loops.render(variables), marked.marks

    def _without_system(self, messages: Sequence[Message]) -> Sequence[Message]:
        joined = without_system(messages)
        if not any(message.role == "system" for message in messages):
            return joined
        index = next(index for index, message in enumerate(joined) if message.role == "user")
        parts = [message for message in messages if message.role == "system"]
        parts += [message for message in messages if message.role == "user"][:1]
        key = tuple(map(id, parts))
        if len(self._joined) > _MOST_TOOLS:
            self._joined.clear()
        _, joined[index] = self._joined.setdefault(key, (parts, joined[index]))
        return joined

    def _shown_tools(self, tools: Sequence[ToolSpecification]) -> Any:
        if not tools:
            return None
        key = tuple(map(id, tools))
        if key not in self._tools:
            if len(self._tools) > _MOST_TOOLS:
                self._tools.clear()
            shown = [tool.to_json() for tool in tools]
            if not is_plain(shown):
                raise NotPlainError
            text = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": ""}],
                tools=shown,
                chat_template=_TOOLS_AS_JSON,
                tokenize=False,
            )
            self._tools[key] = (tools, json_value(text))
        return self._tools[key][1]

    def _seen(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What transformers shows a template of messages. It looks at their keys and at the types of what they hold:
        where it left one as it was, it is not asked about the next one of the same form."""
        given = messages if self._finish is None else list(map(self._finish, messages))
        forms = [(each["role"], _form(each)) for each in given]
        are_known = [form in self._unchanged for form in forms]
        asked = [each for each, is_known in zip(given, are_known, strict=True) if not is_known]
        if not asked:
            return given
        text = self._tokenizer.apply_chat_template(asked, chat_template=_AS_JSON, tokenize=False)
        answers = iter(map(dict, json_value(text)))
        seen = [each if is_known else next(answers) for each, is_known in zip(given, are_known, strict=True)]
        if len(self._unchanged) > _MOST_FORMS:
            self._unchanged.clear()
        self._unchanged.update(
            form
            for each, form, told in zip(given, forms, seen, strict=True)
            if told == each and _form(told) == form[1]
        )
        return seen


def _form(value: Any) -> Any:
    """The keys in a JSON value, in their order, and the types of what stands there."""
    if type(value) is dict:
        return tuple([(name, _form(item)) for name, item in value.items()])
    if type(value) is list:
        return (list, *map(_form, value))
    return type(value)
