"""No text is beyond a tool-call format, and what a template renders is read back as it was."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_models import CODER_TEMPLATE, EDIT, HERMES_TEMPLATE, TOOLS, conversation, make_tokenizer
from turnmix.core.message import Message, ToolCall
from turnmix.rendering.formats import HermesFormat, ParsedTurn, Qwen3CoderFormat
from turnmix.rendering.renderer import Renderer

FORMATS = (HermesFormat(), Qwen3CoderFormat())
MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>", "<function=", "</function>", "</parameter>")


def assert_usable(parsed: ParsedTurn) -> None:
    """Content, calls, or an error that names the remedy; everything can be stored as UTF-8 JSON."""
    if parsed.error is not None:
        assert not parsed.tool_calls
        assert "Write a tool call exactly like this:\n<tool_call>" in parsed.error
    message = Message(role="assistant", content=parsed.content, tool_calls=parsed.tool_calls)
    str(message.to_json()).encode()
    assert [call.id for call in parsed.tool_calls] == [f"call_{i}" for i in range(len(parsed.tool_calls))]


fragments = st.one_of(
    st.sampled_from(
        (*MARKS, "<function=edit>", "<parameter=path>", '{"name": "edit", "arguments": {', "}", "\n")
    ),
    st.binary(max_size=20).map(lambda data: data.decode(errors="replace")),
    st.text(st.characters(), max_size=10),
)


@given(st.lists(fragments, max_size=12).map("".join))
@settings(max_examples=400, deadline=None)
def test_no_text_raises(text):
    for format in FORMATS:
        assert_usable(format.parse(text, TOOLS))
        assert_usable(format.parse(text, ()))


def mutated(text: str, generator: random.Random) -> str:
    characters = list(text)
    for _ in range(generator.randint(1, 4)):
        position = generator.randrange(len(characters) + 1)
        kind = generator.randrange(5)
        if kind == 0:
            characters[position : position + generator.randint(1, 8)] = []
        elif kind == 1:
            characters.insert(
                position, generator.choice(['"', "{", "}", "\\", "<", ">", "\n", "\x00", "\ud800", "é"])
            )
        elif kind == 2:
            characters[position:position] = list(generator.choice(MARKS))
        elif kind == 3:
            start = generator.randrange(len(characters) + 1)
            characters[position:position] = characters[start : start + 30]
        else:
            characters[position:] = characters[position : position + generator.randint(0, 20)]
    return "".join(characters)


def test_ten_thousand_mutated_calls_never_raise():
    generator = random.Random(0)
    arguments = {
        "path": "/w/a.py",
        "text": 'a "b"\n</x>\\',
        "line": 3,
        "view_range": [1, 2],
        "options": {"a": None},
    }
    call = ToolCall(id="call_0", name="edit", arguments=arguments)
    outcomes = {"calls": 0, "error": 0, "content": 0}
    for number in range(10_000):
        format = FORMATS[number % 2]
        parsed = format.parse(mutated(f"I edit.\n{format.write(call)}", generator), TOOLS)
        assert_usable(parsed)
        outcomes["error" if parsed.error else "calls" if parsed.tool_calls else "content"] += 1
    assert min(outcomes.values()) > 200, outcomes


def free_of_marks(text: str) -> bool:
    return not any(mark in text for mark in (*MARKS, "<parameter=", "<|im_end|>", "<tool_call"))


readable = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(free_of_marks)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | finite | readable,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(readable, inner, max_size=3),
    max_leaves=6,
)
edit_arguments = st.fixed_dictionaries(
    {"path": readable},
    optional={
        "text": readable,
        "line": st.integers(-(10**12), 10**12),
        "share": finite,
        "dry": st.booleans(),
        "view_range": st.lists(st.integers(0, 99), max_size=3),
        "options": st.dictionaries(readable, json_values, max_size=3),
    },
)


@pytest.fixture(scope="module", params=[HERMES_TEMPLATE, CODER_TEMPLATE], ids=["hermes", "coder"])
def renderer(request):
    return Renderer(make_tokenizer(request.param))


@given(content=readable.map(str.strip), calls=st.lists(edit_arguments, max_size=3))
@settings(max_examples=150, deadline=None)
def test_what_a_template_renders_is_read_back(renderer, content, calls):
    made = tuple(ToolCall(id=f"call_{i}", name=EDIT.name, arguments=given) for i, given in enumerate(calls))
    message = Message(role="assistant", content=content, tool_calls=made)
    text = renderer.target_text(conversation(), message)
    parsed = renderer.format.parse(text.removesuffix("<|im_end|>"), TOOLS)
    assert parsed.error is None
    assert parsed.content == content
    assert parsed.tool_calls == made
