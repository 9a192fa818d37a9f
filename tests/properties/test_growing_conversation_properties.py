"""Conversations that grow side by side: each prompt is written as if no other had been, whatever the messages hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_models import TOOLS, make_tokenizer
from qwen3_templates import TEMPLATES
from turnmix.core.message import Message, ToolCall
from turnmix.rendering import probe
from turnmix.rendering.chat_template import ChatTemplate
from turnmix.rendering.control_text import ControlTexts

WHOLE = (
    "{% for m in messages %}{{ m | tojson }}{% if loop.last %}!{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REASONING = {"thoughts by a name that transformers gives others too": WHOLE}
SOURCES = {**TEMPLATES, "the whole message": WHOLE, **REASONING}
texts = st.text(max_size=4) | st.sampled_from(["<|im_end|>", "<think>\nI.\n</think>\n\nGo.", "", " "])
names = st.sampled_from(["path", "thinking", "reasoning", "content", "role", "messages", "model_dump"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
calls = st.builds(
    ToolCall, id=st.just("call_0"), name=st.just("edit"), arguments=st.dictionaries(names, values, max_size=2)
)
answers = st.builds(
    Message, role=st.just("assistant"), content=texts, tool_calls=st.tuples(calls) | st.just(())
)
observations = st.builds(
    Message, role=st.just("tool"), content=texts, tool_call_id=st.just("call_0")
) | st.builds(Message, role=st.just("user"), content=texts)


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=60, deadline=None)
@given(turns=st.lists(st.tuples(st.integers(0, 2), answers, observations), max_size=9))
def test_conversations_side_by_side_are_written_as_each_alone(name, turns):
    tokenizer = make_tokenizer(SOURCES[name])
    plain, remembering = (ChatTemplate(tokenizer, with_tools=True) for _ in range(2))
    for template in (plain, remembering):
        template.control_texts = ControlTexts(["<|im_end|>"])
        template.reasoning_key = "reasoning" if name in REASONING else None
    remembering.remember(())
    beginning = [message for message in probe.BEGINNING.messages if message.role != "assistant"][:2]
    conversations = [beginning, beginning, beginning[:1]]
    for number, *said in turns:
        conversations[number] = [*conversations[number], *said]
        for generate in (True, False):
            asked = (tuple(conversations[number]), TOOLS)
            assert written(remembering, asked, generate) == written(plain, asked, generate)


def written(template, asked, generate):
    """A prompt, or what the template says against it."""
    try:
        return template.render(*asked, generate=generate)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
