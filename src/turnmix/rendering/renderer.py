"""States and actions as one model's own tokens, and sampled tokens as actions, by the model's chat template.

    prompt_ids(h_t)       the prompt on which the student acts: history, tools, generation prompt
    target_ids(h_t, a_t)  the tokens of a_t as the student would have sampled them, end of turn included

A prompt and its target are tokenised apart, because that is how a token sequence comes about at inference:
the prompt is fixed before the first token of the action is sampled. A past turn that the student sampled keeps
its sampled tokens wherever the template writes the text that they spell. Inference and training both call
`prompt_ids`, on equal states also when one of them was read back from a store: what the learner reads is what
the student read.

A tokenizer of few words and a template of few marks. The student answers `hi` in two tokens, where the tokenizer
would take one; the next prompt holds the two, and the teacher's label in the first state is the one:

    >>> from tokenizers import Tokenizer, decoders, models
    >>> from transformers import PreTrainedTokenizerFast
    >>> words = Tokenizer(models.BPE(vocab={"h": 0, "i": 1, "hi": 2}, merges=[("h", "i")]))
    >>> words.decoder = decoders.Fuse()
    >>> words.add_special_tokens(["<u>", "<a>", "</>"])  # 3, 4, 5
    3
    >>> template = (
    ...     "{% for m in messages %}<{{ 'a' if m.role == 'assistant' else 'u' }}>{{ m.content }}</>{% endfor %}"
    ...     "{% if add_generation_prompt %}<a>{% endif %}{# <tool_call> arguments #}"
    ... )
    >>> renderer = Renderer(
    ...     PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template, eos_token="</>")
    ... )
    >>> asked = State(messages=(Message(role="user", content="h"),), tools=())
    >>> renderer.prompt_ids(asked)
    [3, 0, 5, 4]
    >>> answered = renderer.parse([0, 1, 5], tools=())
    >>> renderer.prompt_ids(State(messages=(*asked.messages, answered.message), tools=()))
    [3, 0, 5, 4, 0, 1, 5, 4]
    >>> renderer.target_ids(asked, Action(message=Message(role="assistant", content="hi")))
    [2, 5]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import Action, State
from turnmix.rendering import probe
from turnmix.rendering.arguments import without_surrogates
from turnmix.rendering.check import check_renderer, refusal
from turnmix.rendering.formats import HermesFormat, ToolCallFormat, formats_in
from turnmix.rendering.history import place_turns
from turnmix.rendering.response_template import ResponseTemplateFormat, split_thinking
from turnmix.rendering.segments import SegmentTokenizer

_EMPTY_THINKING = re.compile(r"<think>\s*</think>\s*$")
_CACHED_TURNS = 4096


class Renderer:
    """Renders for one model. Safe to use from several threads."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        field: str = "student.model",
        tool_calls: Literal["native", "text"] = "native",
    ) -> None:
        """`tokenizer`: a Hugging Face fast tokenizer with a chat template. `field` is where the recipe names
        its model. `tool_calls`: how the model calls tools; as text, its template need not know any.

        Raises:
            UserError: it has no fast form, no chat template, or one that cannot be taught with.
        """
        self.field = field
        self.tool_calls = tool_calls
        self.probes = probe.NATIVE if tool_calls == "native" else probe.TEXT
        self.model_name = str(tokenizer.name_or_path) or type(tokenizer).__name__
        if not getattr(tokenizer, "is_fast", False):
            raise refusal(self, "has no fast tokenizer", "choose one that ships a tokenizer.json")
        if not tokenizer.chat_template:
            raise refusal(self, "has no chat template", "choose an instruct model")
        self._tokenizer = tokenizer
        self.vocabulary = max(tokenizer.get_vocab().values()) + 1
        """Token ids lie below; those from here on that a model has logits for are padding."""
        self._template: str = tokenizer.get_chat_template(
            tools=[tool.to_json() for tool in self.probes.after_an_answer.tools] or None
        )
        self._options = {"enable_thinking": False} if "enable_thinking" in self._template else {}
        self._reasoning_key: str | None = None
        self._segments = SegmentTokenizer(tokenizer)
        self._decode_cached = lru_cache(maxsize=_CACHED_TURNS)(self._decode)
        self.end_of_turn = self._find_end_of_turn()
        self.end_of_turn_id: int = self._segments.added_tokens[self.end_of_turn]
        self._beginnings = self._find_beginnings()
        self.format = self._find_format() if tool_calls == "native" else HermesFormat()
        self._reasoning_key = self.format.reasoning_key

    def prompt_ids(self, state: State) -> list[int]:
        """The prompt in `state`, up to where the model goes on."""
        text = self.prompt_text(state)
        ids: list[int] = []
        position = 0
        for place, turn in zip(self._places(state, text), _assistant_turns(state), strict=True):
            if place is not None:
                spoken = self._spoken(turn)
                ids += self._segments.ids(text[position:place])
                ids += spoken
                position = place + len(self._decode_cached(spoken))
        return ids + self._segments.ids(text[position:])

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
        action = self.parse_text(self._decode(tuple(spoken)), tools)
        return replace(action, token_ids=tuple(token_ids))

    def parse_text(self, text: str, tools: Sequence[ToolSpecification]) -> Action:
        """The action that an answer is whose tokens are not known, less the one that ended it. Never raises.

        Where no tools are on offer, what looks like a call is text.
        """
        if not tools:
            return Action(message=Message(role="assistant", content=without_surrogates(text)))
        parsed = self.format.parse(text, tools)
        message = Message(role="assistant", content=parsed.content, tool_calls=parsed.tool_calls)
        return Action(message=message, parse_error=parsed.error)

    def kept_turns(self, state: State) -> list[bool | None]:
        """For each assistant message of `state`, in order: does `prompt_ids(state)` hold all tokens that were
        sampled for it, one after the other? None: none are known."""
        places = self._places(state, self.prompt_text(state))
        kept: list[bool | None] = []
        for place, turn in zip(places, _assistant_turns(state), strict=True):
            if not turn.token_ids:
                kept.append(None)
                continue
            last = turn.token_ids[-1]
            kept.append(place is not None and (last == self.end_of_turn_id or last not in self.stop_ids))
        return kept

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a turn: the template's, and the model's end of sequence."""
        return frozenset({self.end_of_turn_id, self._tokenizer.eos_token_id} - {None})

    def check(self) -> None:
        """Try the template on small conversations, before any work starts.

        Raises:
            UserError: it leaves something out, or a rendered turn does not parse back to itself.
        """
        check_renderer(self)

    def prompt_text(self, state: State) -> str:
        """What `prompt_ids(state)` spell."""
        return self._render(state.messages, state.tools, generate=True)

    def target_text(self, state: State, message: Message) -> str:
        """The text of `message` behind the generation prompt, end of turn included."""
        prompt = self.prompt_text(state)
        whole = self._render((*state.messages, message), state.tools, generate=False)
        end = whole.rfind(self.end_of_turn)
        whole = whole[: end + len(self.end_of_turn)]
        if whole.startswith(prompt):
            return whole[len(prompt) :]
        # The generation prompt closes an empty thinking block that the history leaves out.
        history = self._render(state.messages, state.tools, generate=False)
        header = _EMPTY_THINKING.sub("", prompt[len(history) :])
        if header and prompt.startswith(history) and whole.startswith(history + header):
            return whole[len(history + header) :]
        raise refusal(
            self,
            f"renders a turn otherwise than its generation prompt {prompt[-60:]!r} begins it",
            "its chat template must put the assistant's turn behind the generation prompt",
        )

    def _places(self, state: State, text: str) -> list[int | None]:
        """Where in the prompt's text each assistant message of `state` stands as it was sampled."""
        turns = [
            self._decode_cached(self._spoken(turn)) if turn.token_ids else None
            for turn in _assistant_turns(state)
        ]
        if all(turn is None for turn in turns):
            return [None] * len(turns)
        history = text[: len(text) - len(self._beginnings[-1])]
        return place_turns(history, turns, beginnings=self._beginnings, end=self.end_of_turn)

    def _spoken(self, turn: Message) -> tuple[int, ...]:
        """The sampled tokens of a turn, less the one that ended it."""
        token_ids = turn.token_ids or ()
        return token_ids[:-1] if token_ids and token_ids[-1] in self.stop_ids else token_ids

    def _decode(self, token_ids: tuple[int, ...]) -> str:
        text: str = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _find_end_of_turn(self) -> str:
        message = Message(role="assistant", content=probe.WORD)
        state = self.probes.after_an_answer
        whole = self._render((*state.messages, message), state.tools, generate=False)
        tail = whole[whole.rfind(probe.WORD) + len(probe.WORD) :].lstrip()
        for token in sorted(self._segments.added_tokens, key=len, reverse=True):
            if tail.startswith(token):
                return token
        raise refusal(self, "ends a turn with no special token", "choose a model whose template does")

    def _find_beginnings(self) -> list[str]:
        """What may stand before a turn: the generation prompt, first less an empty thinking block that
        closes it, then whole."""
        state = self.probes.after_an_answer
        prompt = self.prompt_text(state)
        history = self._render(state.messages, state.tools, generate=False)
        generation = prompt[len(history) :]
        header = _EMPTY_THINKING.sub("", generation)
        if not prompt.startswith(history) or not header:
            raise refusal(
                self,
                f"has a chat template whose generation prompt is no end of the prompt {prompt[-60:]!r}",
                "its chat template must add the generation prompt behind the history",
            )
        return list(dict.fromkeys((header, generation)))

    def _find_format(self) -> ToolCallFormat:
        """The format that reads what the template writes; the likeliest where none does."""
        formats = formats_in(self._template)
        if getattr(self._tokenizer, "response_template", None):
            by_tokenizer = ResponseTemplateFormat(
                self._tokenizer, generation_prompt=self._beginnings[-1], write=self._written
            )
            formats = (*formats, by_tokenizer)
        if not formats:
            raise refusal(
                self,
                "has a chat template that writes tool calls in no format that TurnMix reads",
                "choose a model whose template uses Hermes JSON (Qwen3, Qwen2.5, Hermes) or Qwen3-Coder XML, "
                "or whose tokenizer has a response_template (transformers 5.13 or newer reads it)",
            )
        if len(formats) == 1:
            return formats[0]
        turn = probe.TURNS[0]
        text = self.target_text(probe.BEGINNING, turn).removesuffix(self.end_of_turn)
        for format in formats:
            if format.parse(text, probe.BEGINNING.tools).tool_calls == turn.tool_calls:
                return format
        return formats[0]

    def _written(self, call: ToolCall) -> str:
        message = Message(role="assistant", content="", tool_calls=(call,))
        return self.target_text(probe.BEGINNING, message).removesuffix(self.end_of_turn).strip()

    def _render(
        self, messages: Sequence[Message], tools: Sequence[ToolSpecification], *, generate: bool
    ) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                [self._shown(message) for message in messages],
                tools=[tool.to_json() for tool in tools] or None,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=generate,
                **self._options,
            )
        except Exception as error:  # a template is somebody else's program, and may raise anything
            roles = " ".join(message.role for message in messages[-6:])
            raise refusal(
                self,
                f"has a chat template that fails on the messages … {roles}: {error}",
                "choose a model whose template takes tools and tool answers",
            ) from error
        return text

    def _shown(self, message: Message) -> dict[str, Any]:
        """The message as the template takes it."""
        data = message.to_json()
        if self._reasoning_key is not None and message.role == "assistant":
            thinking, data["content"] = split_thinking(message.content)
            if thinking:
                data[self._reasoning_key] = thinking
        return data


def _assistant_turns(state: State) -> list[Message]:
    return [message for message in state.messages if message.role == "assistant"]
