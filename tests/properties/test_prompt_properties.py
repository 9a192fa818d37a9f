"""Whatever was sampled and observed: a prompt spells its template's text, and a store changes none of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_models import TOOLS, answer, make_tokenizer
from qwen3_templates import TEMPLATES
from sampled_turns import rollout, stored, student_turn
from turnmix.core.message import Message
from turnmix.rendering.drift import count_drift
from turnmix.rendering.renderer import Renderer

MARKS = ("<|im_start|>assistant\n", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "\n")
texts = st.lists(st.sampled_from(MARKS) | st.text(max_size=8), max_size=5).map("".join)
CALLS = (
    '<tool_call>\n{"name": "edit", "arguments": {"path": "a"}}\n</tool_call>',
    "I.\n\n<tool_call>\n<function=finish>\n</function>\n</tool_call>",
)


@st.composite
def rollouts(draw, renderer, tokenizer):
    """Student turns of any tokens, parsed as the student's are; observations of any text."""
    turns = []
    for _ in range(draw(st.integers(1, 4))):
        ids = st.lists(st.integers(3, len(tokenizer) - 1), max_size=12)
        written = st.sampled_from(CALLS).map(lambda text: tokenizer(text).input_ids)
        spoken = [token for token in draw(ids | written) if token not in renderer.stop_ids]
        end = draw(st.sampled_from([(), (tokenizer.eos_token_id,)]))
        action = renderer.parse((*spoken, *end), TOOLS)
        observed = draw(texts.map(answer) | texts.map(lambda text: Message(role="user", content=text)))
        turns.append(student_turn(action, observed))
    return rollout(*turns)


@pytest.mark.parametrize("name", TEMPLATES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_prompt_spells_the_rendered_text_with_sampled_tokens_or_counts_drift(name, data):
    tokenizer = make_tokenizer(TEMPLATES[name])
    renderer = Renderer(tokenizer)
    trajectory = data.draw(rollouts(renderer, tokenizer))
    back = stored(trajectory)
    differing = 0
    for index in range(len(trajectory.turns)):
        state = trajectory.state(index)
        prompt = renderer.prompt_ids(state)
        assert tokenizer.decode(prompt) == renderer.prompt_text(state)
        assert renderer.prompt_ids(back.state(index)) == prompt
        spelled = "," + ",".join(map(str, prompt)) + ","
        kept = renderer.kept_turns(state)
        for turn, is_kept in zip(trajectory.turns[:index], kept, strict=True):
            if is_kept:
                assert "," + ",".join(map(str, turn.action.token_ids)) + "," in spelled
        differing = kept.count(False)
    assert count_drift([back], renderer).differing == differing
