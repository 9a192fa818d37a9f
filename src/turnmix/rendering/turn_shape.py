"""How one template sets off an assistant's turn: what begins it, what ends it, and what it puts around the text.

In: a template, conversations to try it on, the tokenizer's added tokens. Out: strings.
"""

from __future__ import annotations

import re

from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.rendering import probe
from turnmix.rendering.chat_template import ChatTemplate
from turnmix.rendering.probe import Conversations
from turnmix.rendering.refusal import Refusal
from turnmix.rendering.segments import SegmentTokenizer

_EMPTY_THINKING = re.compile(r"<think>\s*</think>\s*$")


def find_end_of_turn(
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


def find_beginnings(template: ChatTemplate, probes: Conversations, refusal: Refusal) -> list[str]:
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


def find_space_around(
    template: ChatTemplate, probes: Conversations, *, beginning: str, end: str
) -> tuple[str, str]:
    """The space that the template puts before and behind a turn's text."""
    whole = _whole(template, probes)
    before = whole[: whole.rfind(probe.WORD)].rpartition(beginning)[2]
    behind = whole[whole.rfind(probe.WORD) + len(probe.WORD) :].partition(end)[0]
    return ("" if before.strip() else before, "" if behind.strip() else behind)


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
