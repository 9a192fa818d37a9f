"""The tokens of a prompt do not depend on the prompt that came before it, whatever its turns hold."""

import random
from dataclasses import replace

import pytest

from chat_models import HERMES_TEMPLATE, TOOLS, conversation, make_tokenizer
from qwen3_templates import TEMPLATES
from sampled_turns import spelled
from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.rendering.renderer import Renderer

ALL = {**TEMPLATES, "hermes": HERMES_TEMPLATE}
SAID = 'I see "a": 1, "b".'
"""Fewer tokens than letters."""
TOLD = [
    *["line 1"] * 40,
    "STOP = '<|im_end|>'",
    "<|im_end|>",
    "<|im_start|>assistant\n",
    f"<|im_end|>\n<|im_start|>assistant\n{SAID}<|im_end|>\n",
    f"<|im_start|>assistant\n {SAID} <|im_end|>\n",
]
SAMPLED = [
    *[SAID] * 12,
    f" {SAID} ",
    f"{SAID}<|im_start|>assistant\n",
    f"<think>\nHm.\n</think>\n\n{SAID}",
    '<tool_call>\n{"name": "edit",   "arguments": {"path": "a"}}\n</tool_call>',
    "",
]


def as_if_first(renderer, state):
    """The tokens of a conversation that nobody has seen: what is kept is kept for the same messages, not for equal
    ones."""
    return renderer.prompt_ids(replace(state, messages=tuple(map(replace, state.messages))))


def grown_states(renderer, tokenizer, draw, *, turns):
    messages = list(conversation().messages)
    states = [State(messages=tuple(messages), tools=TOOLS)]
    for _ in range(turns):
        ids = spelled(tokenizer, draw.choice(SAMPLED))
        said = renderer.parse(ids, TOOLS).message
        kind = draw.randrange(3)
        acted = replace(said, token_ids=ids) if kind else said
        role = "tool" if acted.tool_calls else "user"
        answered = acted.tool_calls[0].id if acted.tool_calls else None
        messages += [acted, Message(role=role, content=draw.choice(TOLD), tool_call_id=answered)]
        states.append(State(messages=tuple(messages), tools=TOOLS))
    return states


@pytest.mark.parametrize("keeps_control_text", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_prompts_of_a_growing_conversation_are_those_of_each_state_alone(name, keeps_control_text):
    tokenizer = make_tokenizer(ALL[name])
    renderer = Renderer(tokenizer, keeps_control_text=keeps_control_text)
    draw = random.Random(name)
    for _ in range(8):
        states = grown_states(renderer, tokenizer, draw, turns=6)
        expected = [as_if_first(renderer, state) for state in states]
        assert [renderer.prompt_ids(state) for state in states] == expected
        assert [renderer.prompt_array(state).tolist() for state in states] == expected
        for place in draw.sample(range(len(states)), len(states)):
            asked = draw.choice([renderer.prompt_ids, renderer.prompt_array])
            assert list(asked(states[place])) == expected[place]


def test_conversations_that_take_turns_are_kept_apart():
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    draw = random.Random(2)
    several = [grown_states(renderer, tokenizer, draw, turns=5) for _ in range(4)]
    for states in zip(*several, strict=True):
        for state in states:
            assert renderer.prompt_ids(state) == as_if_first(renderer, state)


def test_a_turn_with_the_same_text_and_other_tokens_is_another_turn():
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    beginning, told = conversation().messages, Message(role="user", content="Go on.")
    acted = Message(role="assistant", content=SAID, token_ids=spelled(tokenizer, SAID))
    plain = replace(acted, token_ids=None)
    for before in ((), (replace(plain), told)):  # what is kept is looked for by the first turn
        for known, turn in ((acted, plain), (plain, acted)):
            renderer.prompt_ids(State(messages=(*beginning, *before, known, told), tools=TOOLS))
            state = State(messages=(*beginning, *before, turn, told, plain, told), tools=TOOLS)
            assert renderer.prompt_ids(state) == as_if_first(renderer, state)


def test_a_turn_that_is_quoted_later_is_found_where_it_is_found_in_the_state_alone():
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    drifted = Message(role="assistant", content=SAID, token_ids=spelled(tokenizer, f" {SAID} "))
    quote = f"<|im_start|>assistant\n {SAID} <|im_end|>\n"
    messages = (*conversation().messages, drifted, Message(role="user", content="Go on."))
    renderer.prompt_ids(State(messages=messages, tools=TOOLS))
    state = State(messages=(*messages, Message(role="user", content=quote)), tools=TOOLS)
    assert renderer.prompt_ids(state) == as_if_first(renderer, state)


def test_who_changes_the_tokens_of_a_prompt_changes_no_later_one():
    renderer = Renderer(make_tokenizer())
    state = conversation(Message(role="assistant", content=SAID), Message(role="user", content="Go on."))
    expected = renderer.prompt_ids(state)
    renderer.prompt_ids(state).clear()
    with pytest.raises(ValueError, match="read-only"):
        renderer.prompt_array(replace(state))[0] = 7
    assert renderer.prompt_ids(replace(state)) == expected
