"""How one template sets off an assistant's turn: what begins it, what ends it, and what it puts around the text.

In: a template, conversations to try it on, the tokenizer's added tokens. Out: strings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.rendering import probe
from turnmix.rendering.chat_template import ChatTemplate
from turnmix.rendering.probe import Conversations
from turnmix.rendering.refusal import Refusal
from turnmix.rendering.segments import SegmentTokenizer

_EMPTY_THINKING = re.compile(r"<think>\s*</think>\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnShape:
    """How a turn stands in a conversation."""

    end: str
    """The added token that the template writes behind a turn's text."""
    num_ends: int
    """How many of them stand behind the last turn: a template may write one more, of it all (Phi-3)."""
    beginnings: list[str]
    """What may stand before a turn, the shortest first; each other one begins with it."""
    space_around: tuple[str, str]
    """The space that the template puts before and behind a turn's text."""

    def end_of_last(self, whole: str) -> int:
        """Where in a conversation the end of its last turn ends."""
        position = len(whole)
        for _ in range(self.num_ends):
            position = whole.rfind(self.end, 0, position)
        return position + len(self.end)


def find_turn_shape(
    template: ChatTemplate, probes: Conversations, tokenizer: SegmentTokenizer, refusal: Refusal
) -> TurnShape:
    """
    Raises:
        RefusedModelError: turns begin in no one way, or end with no special token.
    """
    end = _find_end(template, probes, tokenizer, refusal)
    beginnings = _find_beginnings(template, probes, refusal)
    whole = _whole(template, probes)
    before, behind = whole[: whole.rfind(probe.WORD)], whole[whole.rfind(probe.WORD) + len(probe.WORD) :]
    around = (before.rpartition(beginnings[0])[2], behind.partition(end)[0])
    return TurnShape(
        end=end,
        num_ends=behind.count(end),
        beginnings=beginnings,
        space_around=("" if around[0].strip() else around[0], "" if around[1].strip() else around[1]),
    )


def _find_end(
    template: ChatTemplate, probes: Conversations, tokenizer: SegmentTokenizer, refusal: Refusal
) -> str:
    """The added token that the template writes behind a turn's text.

    Raises:
        RefusedModelError: there is none.
    """
    whole = _whole(template, probes)
    tail = whole[whole.rfind(probe.WORD) + len(probe.WORD) :]
    for token in sorted(tokenizer.added_tokens, key=len, reverse=True):
        if token.strip() and tail.lstrip().startswith(token):
            return token
    raise refusal(
        f"ends a turn with no special token: behind its text the template writes {tail[:40]!r}",
        "choose a model whose template ends a turn with one, such as ChatML's <|im_end|>",
    )


def _find_beginnings(template: ChatTemplate, probes: Conversations, refusal: Refusal) -> list[str]:
    """What may stand before a turn: the generation prompt, first less an empty thinking block that closes it, then
    whole. A template that adds none (Mistral) begins a turn behind what ends all prompts alike.

    Raises:
        RefusedModelError: turns begin in no one way.
    """
    prompts: list[str] = []
    found: set[str] = set()
    for state in probes.states:
        prompt = template.render(state.messages, state.tools, generate=True).text
        history = _history(template, state, prompt)
        if not prompt.startswith(history):
            raise refusal(
                f"has a chat template whose generation prompt is no end of the prompt {prompt[-60:]!r}",
                "choose a model whose template adds the generation prompt behind the history",
            )
        prompts.append(prompt)
        found.add(prompt[len(history) :])
    if len(found) > 1:
        last = prompts[-1][-60:]
        raise refusal(
            f"has a chat template that begins a turn behind a tool's answer otherwise than behind a user: it adds "
            f"{' or '.join(map(repr, sorted(found)))} to a prompt, such as {last!r}",
            "choose a model whose template begins every turn alike, such as Qwen3 or Llama 3",
        )
    generation = found.pop() or _common_end(prompts)
    header = _EMPTY_THINKING.sub("", generation)
    if not header:
        raise refusal(
            "has a chat template that marks no turn's beginning", "choose a model whose template does"
        )
    return list(dict.fromkeys((header, generation)))


def turn_behind(template: ChatTemplate, state: State, prompt: str, whole: str) -> int | None:
    """Where in a whole conversation its last turn begins, behind its prompt; None: it begins otherwise."""
    if whole.startswith(prompt):
        return len(prompt)
    # The generation prompt closes an empty thinking block that the history leaves out.
    history = _history(template, state, prompt)
    header = _EMPTY_THINKING.sub("", prompt[len(history) :])
    is_left_out = header and prompt.startswith(history) and whole.startswith(history + header)
    return len(history) + len(header) if is_left_out else None


def _whole(template: ChatTemplate, probes: Conversations) -> str:
    """A conversation that ends with a turn of one word."""
    state = probes.after_an_answer
    return template.render((*state.messages, Message(role="assistant", content=probe.WORD)), state.tools).text


def _history(template: ChatTemplate, state: State, prompt: str) -> str:
    """The conversation without a generation prompt. Some templates (Phi-3) end a whole one with a token that no
    prompt holds."""
    history = template.render(state.messages, state.tools).text
    if not prompt.startswith(history):
        for token in template.special_tokens:
            if history.endswith(token) and prompt.startswith(history.removesuffix(token)):
                return history.removesuffix(token)
    return history


def _common_end(texts: list[str]) -> str:
    """
    >>> _common_end(["[INST] a [/INST]", "[INST] b [/INST]"])
    ' [/INST]'
    """
    shortest = min(texts, key=len)
    length = len(shortest)
    while not all(text.endswith(shortest[len(shortest) - length :]) for text in texts):
        length -= 1
    return shortest[len(shortest) - length :]
