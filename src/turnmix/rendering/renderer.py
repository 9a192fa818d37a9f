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
    ...     "{% if add_generation_prompt %}<a>{% endif %}"
    ... )
    >>> renderer = Renderer(
    ...     PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template, eos_token="</>"),
    ...     tool_calls="text",
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

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnmix.core.errors import UserError
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Action, State
from turnmix.rendering import probe
from turnmix.rendering.arguments import without_surrogates
from turnmix.rendering.chat_template import ChatTemplate, TemplateError
from turnmix.rendering.check import check_renderer, check_template
from turnmix.rendering.control_text import ControlTexts, RenderedText, control_tokens
from turnmix.rendering.format_choice import choose_format, formats_of
from turnmix.rendering.formats import HermesFormat, ToolCallFormat
from turnmix.rendering.prompt_tokens import PromptTokens, assistant_turns
from turnmix.rendering.refusal import RefusedModelError, ToolCalls, with_working_remedy
from turnmix.rendering.segments import SegmentTokenizer
from turnmix.rendering.turn_shape import find_turn_shape, turn_behind
from turnmix.rendering.vocabulary import vocabulary_size

_CACHED_TURNS = 4096


class Renderer:
    """Renders for one model. Safe to use from several threads."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        field: str = "student.model",
        tool_calls: ToolCalls = "native",
        stop_ids: Iterable[int] = (),
        moment: datetime | None = None,
        keeps_control_text: bool = True,
        seeks_remedy: bool = True,
    ) -> None:
        """`tokenizer`: a Hugging Face fast tokenizer with a chat template.

        field: where the recipe names its model
        tool_calls: how the model calls tools; as text, its template need not know any
        stop_ids: the tokens that end the model's turns beside the template's own and the end of sequence
        moment: what the template shows as now; None: when it renders
        keeps_control_text: text of a message never becomes a control token, where the tokenizer can write it
            otherwise; False: it does, as for a server that tokenises prompts itself
        seeks_remedy: a refusal says whether the other way of calling tools would pass

        Raises:
            UserError: it has no fast form, no chat template, or one that cannot be taught with.
        """
        self.field = field
        self.tool_calls: ToolCalls = tool_calls
        self.probes = probe.NATIVE if tool_calls == "native" else probe.TEXT
        self._tokenizer = tokenizer
        self._more_stop_ids = tuple(stop_ids)
        self._seeks_remedy = seeks_remedy
        self._latest = threading.local()
        with with_working_remedy(self._passes_with, tool_calls=tool_calls):
            self._prepare(moment, keeps_control_text=keeps_control_text)

    def _prepare(self, moment: datetime | None, *, keeps_control_text: bool) -> None:
        if not getattr(self._tokenizer, "is_fast", False):
            raise self.refusal("has no fast tokenizer", "choose one that ships a tokenizer.json")
        if not self._tokenizer.chat_template:
            raise self.refusal("has no chat template", "choose an instruct model")
        is_native = self.tool_calls == "native"
        self._template = ChatTemplate(self._tokenizer, with_tools=is_native, moment=moment)
        check_template(self._template, self.refusal, with_tools=is_native)
        formats = formats_of(self._template, self._tokenizer, self.refusal) if is_native else ()
        self._segments = SegmentTokenizer(self._tokenizer)
        self._decode_cached = lru_cache(maxsize=_CACHED_TURNS)(self._decode)
        self.vocabulary = vocabulary_size(self._tokenizer)
        """Token ids lie below; those from here on that a model has logits for are padding."""
        self._shape = find_turn_shape(self._template, self.probes, self._segments, self.refusal)
        self.end_of_turn = self._shape.end
        self.end_of_turn_id: int = self._segments.added_tokens[self.end_of_turn]
        self._segments.split_at(self.end_of_turn)
        ends = {self.end_of_turn_id, self._tokenizer.eos_token_id, *self._more_stop_ids}
        self._stop_ids = frozenset(ends & set(range(self.vocabulary)))
        self.format: ToolCallFormat = HermesFormat()
        if is_native:
            generation = self._shape.beginnings[-1]
            self.format = choose_format(
                formats, self._tokenizer, generation_prompt=generation, turn_of=self._turn_of
            )
        self._template.reasoning_key = self.format.reasoning_key
        self._control = ControlTexts(control_tokens(self._tokenizer, self._template.source, self.stop_ids))
        self._keeps_control_text = keeps_control_text
        if keeps_control_text:
            self._template.control_texts = self._control
        self._template.remember(self.probes.states)
        self._prompts = PromptTokens(
            self._segments,
            beginnings=self._shape.beginnings,
            end=self.end_of_turn,
            spoken=self._spoken,
            decode=self._decode_cached,
        )
        self._latest = threading.local()

    def prompt_ids(self, state: State) -> list[int]:
        """The prompt in `state`, up to where the model goes on."""
        return self._prompts.ids(state, self._prompt(state))

    def prompt_array(self, state: State) -> NDArray[np.int32]:
        """`prompt_ids(state)`, not to be written to: where prompts of 64K tokens follow one another, a fraction of the
        work."""
        return self._prompts.array(state, self._prompt(state))

    def target_ids(self, state: State, action: Action) -> list[int]:
        """The action's tokens behind `prompt_ids(state)`; sampled ones as they are.

        Raises:
            UserError: the template does not render the action behind the generation prompt.
        """
        if action.token_ids is not None:
            return list(action.token_ids)
        prompt = self._prompt(state)
        return self._segments.ids_behind(prompt.text, self._target(state, action.message, prompt))

    def stands_behind_prompt(self, state: State, message: Message, target: Sequence[int]) -> bool:
        """Are the tokens of a turn those of its text behind the prompt's? A tokenizer of pieces knows no other."""
        if self._segments.is_segmented:
            return True
        whole = self._segments.ids(self.prompt_text(state) + self.target_text(state, message))
        return whole[len(whole) - len(target) :] == list(target)

    def parse(self, token_ids: Sequence[int], tools: Sequence[ToolSpecification]) -> Action:
        """The action that sampled `token_ids` are. Never raises."""
        action = self.parse_text(self.spelled(token_ids), tools)
        return replace(action, token_ids=tuple(token_ids))

    def spelled(self, token_ids: Sequence[int]) -> str:
        """The text of sampled tokens, less the one that ended the turn."""
        # Kept: the next prompt of the conversation looks for this text.
        return self._decode_cached(self._less_end(tuple(token_ids)))

    def parse_text(self, text: str, tools: Sequence[ToolSpecification]) -> Action:
        """The action that an answer is whose tokens are not known, less the one that ended it. Never raises.

        Where no tools are on offer, what looks like a call is text.
        """
        before, behind = self._shape.space_around
        text = text.removeprefix(before).removesuffix(behind)
        if not tools:
            return Action(message=Message(role="assistant", content=without_surrogates(text)))
        parsed = self.format.parse(text, tools)
        message = Message(role="assistant", content=parsed.content, tool_calls=parsed.tool_calls)
        return Action(message=message, parse_error=parsed.error)

    def kept_turns(self, state: State) -> list[bool | None]:
        """For each assistant message of `state`, in order: does `prompt_ids(state)` hold all tokens that were
        sampled for it, one after the other? None: none are known."""
        places = self._prompts.places(state, self.prompt_text(state))
        kept: list[bool | None] = []
        for place, turn in zip(places, assistant_turns(state), strict=True):
            if not turn.token_ids:
                kept.append(None)
                continue
            last = turn.token_ids[-1]
            kept.append(place is not None and (last == self.end_of_turn_id or last not in self.stop_ids))
        return kept

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a turn: the template's, the end of sequence, and those that the model names."""
        return self._stop_ids

    def control_texts(self, messages: Iterable[Message]) -> list[bool]:
        """For each text in what the agent was told that spells a control token: does it stay text?"""
        told = (message for message in messages if message.role != "assistant")
        found = (text for message in told for text in self._control.found_in(message))
        return [self._keeps_control_text and self._segments.literal_ids(text) is not None for text in found]

    def check(self) -> None:
        """Try the template on small conversations, before any work starts.

        Raises:
            UserError: it leaves something out, or a rendered turn does not parse back to itself.
        """
        with with_working_remedy(self._passes_with, tool_calls=self.tool_calls):
            check_renderer(self)

    def prompt_text(self, state: State) -> str:
        """What `prompt_ids(state)` spell."""
        return self._prompt(state).text

    def target_text(self, state: State, message: Message) -> str:
        """The text of `message` behind the generation prompt, end of turn included."""
        return self._target(state, message, self._prompt(state)).text

    def refusal(self, complaint: str, remedy: str) -> RefusedModelError:
        """The error of a model that cannot act here."""
        name = str(self._tokenizer.name_or_path) or type(self._tokenizer).__name__
        return RefusedModelError(f"{self.field}: {name!r}", complaint, remedy)

    def _passes_with(self, tool_calls: ToolCalls) -> bool:
        if not self._seeks_remedy:
            return False
        try:
            stop_ids = self._more_stop_ids
            Renderer(self._tokenizer, tool_calls=tool_calls, stop_ids=stop_ids, seeks_remedy=False).check()
        except UserError:
            return False
        return True

    def _prompt(self, state: State) -> RenderedText:
        # A state is asked about several times in a row: for its prompt, for the target behind it, for its text.
        if getattr(self._latest, "state", None) is not state:
            self._latest.prompt = self._render(state.messages, state.tools, generate=True)
            self._latest.state = state
        prompt: RenderedText = self._latest.prompt
        return prompt

    def _target(self, state: State, message: Message, prompt: RenderedText) -> RenderedText:
        whole = self._render((*state.messages, message), state.tools, generate=False)
        start = turn_behind(self._template, state, prompt.text, whole.text)
        if start is None:
            raise self.refusal(
                f"renders a turn otherwise than its generation prompt {prompt.text[-60:]!r} begins it",
                "choose a model whose template puts the assistant's turn behind the generation prompt",
            )
        return whole.part(start, self._shape.end_of_last(whole.text))

    def _spoken(self, turn: Message) -> tuple[int, ...]:
        """The sampled tokens of a turn, less the one that ended it."""
        return self._less_end(turn.token_ids or ())

    def _less_end(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        return token_ids[:-1] if token_ids and token_ids[-1] in self.stop_ids else token_ids

    def _decode(self, token_ids: tuple[int, ...]) -> str:
        before, beginning = self._shape.beginnings[-1], self._shape.space_around[0]
        return self._segments.decoded_behind(before, token_ids, beginning=beginning)

    def _turn_of(self, message: Message) -> str:
        """The turn at the beginning of a conversation, less its end."""
        return self.target_text(self.probes.states[0], message).removesuffix(self.end_of_turn)

    def _render(
        self, messages: Sequence[Message], tools: Sequence[ToolSpecification], *, generate: bool
    ) -> RenderedText:
        try:
            return self._template.render(messages, tools, generate=generate)
        except TemplateError as error:
            roles = " ".join(message.role for message in messages[-6:])
            raise self.refusal(
                f"has a chat template that fails on the messages … {roles}: {error}",
                "choose a model whose template takes tools and tool answers",
            ) from error
