"""States and actions as one model's own tokens, and sampled tokens as actions, by the model's chat template.

    prompt_ids(h_t)       the prompt on which the student acts: history, tools, generation prompt
    target_ids(h_t, a_t)  the tokens of a_t as the student would have sampled them, end of turn included

A prompt and its target are tokenised apart, because that is how a token sequence comes about at inference:
the prompt is fixed before the first token of the action is sampled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import Action, State
from turnmix.rendering.formats import format_for
from turnmix.rendering.segments import SegmentTokenizer

_EMPTY_THINKING = re.compile(r"<think>\s*</think>\s*$")
_LEADING_EMPTY_THINKING = re.compile(r"<think>\s*</think>\s*")


class Renderer:
    """Renders for one model. Safe to use from several threads."""

    def __init__(self, tokenizer: Any) -> None:
        """`tokenizer`: a Hugging Face fast tokenizer with a chat template.

        Raises:
            UserError: it has no fast form, no chat template, or one that cannot be taught with.
        """
        self.model_name = str(tokenizer.name_or_path) or type(tokenizer).__name__
        if not getattr(tokenizer, "is_fast", False):
            raise self._error("has no fast tokenizer", "choose one that ships a tokenizer.json")
        if not tokenizer.chat_template:
            raise self._error("has no chat template", "choose an instruct model")
        self._tokenizer = tokenizer
        self._template: str = tokenizer.get_chat_template(tools=[_PROBE_TOOL.to_json()])
        self._options = {"enable_thinking": False} if "enable_thinking" in self._template else {}
        self._segments = SegmentTokenizer(tokenizer)
        self.format = format_for(self._template, model=self.model_name)
        self.end_of_turn = self._find_end_of_turn()
        self.end_of_turn_id: int = self._segments.added_tokens[self.end_of_turn]

    def prompt_ids(self, state: State) -> list[int]:
        """The prompt in `state`, up to where the model goes on."""
        return self._segments.ids(self._prompt_text(state))

    def target_ids(self, state: State, action: Action) -> list[int]:
        """The action's tokens behind `prompt_ids(state)`; sampled ones as they are.

        Raises:
            UserError: the template does not render the action behind the generation prompt.
        """
        if action.token_ids is not None:
            return list(action.token_ids)
        return self._segments.ids(self.target_text(state, action.message))

    def parse(self, token_ids: Sequence[int], tools: Sequence[ToolSpecification]) -> Action:
        """The action that sampled `token_ids` are. Never raises."""
        spoken = token_ids[:-1] if token_ids and token_ids[-1] in self.stop_ids else token_ids
        text: str = self._tokenizer.decode(
            list(spoken), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        parsed = self.format.parse(text, tools)
        message = Message(role="assistant", content=parsed.content, tool_calls=parsed.tool_calls)
        return Action(message=message, parse_error=parsed.error, token_ids=tuple(token_ids))

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a turn: the template's, and the model's end of sequence."""
        return frozenset({self.end_of_turn_id, self._tokenizer.eos_token_id} - {None})

    def check(self) -> None:
        """Try the template on a small conversation, before any work starts.

        Raises:
            UserError: the template leaves out the tools, or a rendered call does not parse back to itself.
        """
        beginning = State(messages=_PROBE_STATE.messages[:2], tools=_PROBE_STATE.tools)
        if _PROBE_TOOL.name not in self._prompt_text(beginning):
            raise self._error(
                "has a chat template that leaves out the tools", "choose a model trained for tools"
            )
        for message in (_PROBE_CALL, Message(role="assistant", content="Done.")):
            target = self.target_text(_PROBE_STATE, message)
            parsed = self.format.parse(target.removesuffix(self.end_of_turn), _PROBE_STATE.tools)
            if (parsed.content, parsed.tool_calls) != (message.content, message.tool_calls):
                complaint = f"writes {message.to_json()} as {target!r}, which reads back as {parsed}"
                raise self._error(complaint, f"its template must write {self.format.name} calls")

    def target_text(self, state: State, message: Message) -> str:
        """The text of `message` behind the generation prompt, end of turn included."""
        prompt = self._prompt_text(state)
        whole = self._render((*state.messages, message), state.tools, generate=False)
        end = whole.rfind(self.end_of_turn)
        whole = whole[: end + len(self.end_of_turn)]
        if whole.startswith(prompt):
            return whole[len(prompt) :]
        # The generation prompt closes an empty thinking block that the history leaves out.
        history = self._render(state.messages, state.tools, generate=False)
        header = _EMPTY_THINKING.sub("", prompt[len(history) :])
        if header and prompt.startswith(history) and whole.startswith(history + header):
            return _LEADING_EMPTY_THINKING.sub("", whole[len(history + header) :], count=1)
        raise self._error(
            f"renders a turn otherwise than its generation prompt {prompt[-60:]!r} begins it",
            "its chat template must put the assistant's turn behind the generation prompt",
        )

    def _find_end_of_turn(self) -> str:
        message = Message(role="assistant", content=_PROBE_WORD)
        whole = self._render((*_PROBE_STATE.messages, message), _PROBE_STATE.tools, generate=False)
        tail = whole[whole.rfind(_PROBE_WORD) + len(_PROBE_WORD) :].lstrip()
        for token in sorted(self._segments.added_tokens, key=len, reverse=True):
            if tail.startswith(token):
                return token
        raise self._error("ends a turn with no special token", "choose a model whose template does")

    def _prompt_text(self, state: State) -> str:
        return self._render(state.messages, state.tools, generate=True)

    def _render(
        self, messages: Sequence[Message], tools: Sequence[ToolSpecification], *, generate: bool
    ) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                [message.to_json() for message in messages],
                tools=[tool.to_json() for tool in tools] or None,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=generate,
                **self._options,
            )
        except Exception as error:  # a template is somebody else's program, and may raise anything
            roles = " ".join(message.role for message in messages[-6:])
            complaint = f"has a chat template that fails on the messages … {roles}: {error}"
            raise self._error(
                complaint, "choose a model whose template takes tools and tool answers"
            ) from error
        return text

    def _error(self, complaint: str, remedy: str) -> UserError:
        return UserError(f"student.model: {self.model_name!r} {complaint}; {remedy}")


_PROBE_WORD = "turnmix-probe"
_PROBE_TOOL = ToolSpecification(
    name="probe_tool",
    description="Look at a file.",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}, "lines": {"type": "array"}, "deep": {"type": "boolean"}},
        "required": ["path"],
    },
)
_PROBE_CALL = Message(
    role="assistant",
    content="I look.",
    tool_calls=(
        ToolCall(
            id="call_0",
            name="probe_tool",
            arguments={"path": 'a "b"\n  <c>\\n é\n', "lines": [1, 20], "deep": True},
        ),
    ),
)
_PROBE_STATE = State(
    messages=(
        Message(role="system", content="You repair programs."),
        Message(role="user", content="Repair it."),
        Message(
            role="assistant",
            content="",
            tool_calls=(ToolCall(id="call_0", name="probe_tool", arguments={"path": "a"}),),
        ),
        Message(role="tool", content="1 line", tool_call_id="call_0"),
    ),
    tools=(_PROBE_TOOL,),
)
