"""Whatever a teacher says, in every template and tool format: what is taught reads back as itself, or is counted."""

import copy
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bracket_template import BRACKETS, READ_BRACKETS
from chat_models import CODER_TEMPLATE, EDIT, HERMES_TEMPLATE, TOOLS, conversation, make_tokenizer
from published_templates import ROWS, tokenizer_of
from qwen3_templates import CODER, HYBRID, INSTRUCT
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.methods.targets import imitate, teacher_label
from turnmix.rendering.renderer import Renderer
from turnmix.scaffold.text_calls import read_calls, tools_told
from turnmix.training.forest import grow_forest
from turnmix.training.learner_settings import LearnerSettings

LLAMA_2 = next(row for row in ROWS if row.name == "Llama-2")
MARKS = (
    *(
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
        "<function=edit>",
        "</function>",
        "<parameter=path>",
    ),
    *(
        "</parameter>",
        "<|im_end|>",
        "<|im_start|>",
        "<|endoftext|>",
        "<|im_start|>user\n",
        "[TOOL_CALLS]",
        "<|channel|>",
    ),
    *(
        '{"name": "edit", "arguments": {"path": "a"}}',
        "[edit]",
        "[/]",
        "((",
        "))\n",
        "None",
        "True",
        "null",
        "\n",
        " ",
    ),
    *(
        "\\n",
        '"',
        "'",
        "\\",
        "{{ x }}",
        "{% raw %}",
        "\ufdd0",
        "\ue000",
        "\x00",
        "\r\n",
        "e\u0301",
        "\u200b",
        "5",
        "1e9",
    ),
)
hostile = st.lists(st.sampled_from(MARKS) | st.text(st.characters(), max_size=6), max_size=5).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | hostile,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(hostile, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(
    st.sampled_from([*EDIT.parameters["properties"], "mode"]) | hostile, values, max_size=4
)
typed_arguments = st.fixed_dictionaries(
    {"path": hostile},
    optional={
        "text": hostile | st.none() | st.booleans(),
        "line": st.integers(-9, 10**9) | st.just("3") | st.just(3.0),
        "dry": st.sampled_from([True, False, "true", "False", None]),
        "view_range": st.lists(st.integers(0, 9) | st.just("1"), max_size=2),
        "options": st.dictionaries(hostile, values, max_size=2),
    },
)
names = st.sampled_from(["edit", "edit", "edit", "edit", "finish", "browse"]) | hostile.map(
    lambda text: "edit" + text
)
calls = st.lists(
    st.tuples(names, typed_arguments | typed_arguments | arguments),
    max_size=2,
)
actions = st.builds(
    lambda content, made, parse_error: Action(
        message=Message(
            role="assistant",
            content=content,
            tool_calls=tuple(
                ToolCall(id=f"c{i}", name=name, arguments=given) for i, (name, given) in enumerate(made)
            ),
        ),
        parse_error=parse_error,
    ),
    st.just("I edit.") | hostile,
    calls,
    st.sampled_from([*[None] * 9, "it could not be read"]),
)


def bracketed():
    tokenizer = copy.deepcopy(make_tokenizer())
    tokenizer.chat_template = BRACKETS
    tokenizer.response_template = READ_BRACKETS
    if not hasattr(tokenizer, "get_response_parser"):
        pytest.skip("needs transformers 5.13 or newer")
    return tokenizer


MODELS = {
    "hermes": lambda: Renderer(make_tokenizer(HERMES_TEMPLATE)),
    "xml": lambda: Renderer(make_tokenizer(CODER_TEMPLATE)),
    "instruct": lambda: Renderer(make_tokenizer(INSTRUCT)),
    "hybrid": lambda: Renderer(make_tokenizer(HYBRID)),
    "coder": lambda: Renderer(make_tokenizer(CODER)),
    "normalised": lambda: Renderer(make_tokenizer(CODER, normalizes=True)),
    "brackets": lambda: Renderer(bracketed()),
    "text": lambda: Renderer(make_tokenizer(INSTRUCT), tool_calls="text"),
    "metaspace": lambda: Renderer(tokenizer_of(LLAMA_2), tool_calls="text"),
}


@cache
def made_once(name):
    made = MODELS[name]()
    made.check()
    return made


@pytest.fixture(scope="module", params=MODELS)
def renderer(request):
    return made_once(request.param)


def learned(renderer, action):
    """What a batch with this one label comes to: the transitions that a method makes, and their forest."""
    is_text = renderer.tool_calls == "text"
    prompt = conversation().messages
    told = Message(role="system", content=tools_told(TOOLS))
    turn = Turn(
        actor="teacher", action=action, observation=(Message(role="user", content="go on"),), label=action
    )
    rolled_out = Trajectory(
        id="a",
        task_id="t",
        iteration=1,
        seed=0,
        tools=() if is_text else TOOLS,
        prompt=(told, *prompt[1:]) if is_text else prompt,
        turns=(turn,),
        stop_reason=StopReason.finished,
        verdict=None,
    )
    taught = imitate([rolled_out], teacher_label)
    forest = grow_forest(
        taught.transitions, renderer, LearnerSettings(), max_context=100_000, needs_reference_logprobs=False
    )
    return taught, forest


def as_sampled(renderer, ids, tools):
    """What a student that writes `ids` is taken to say: it stops at the first token that ends a turn."""
    end = next(index for index, token in enumerate(ids) if token in renderer.stop_ids)
    return renderer.parse(ids[: end + 1], tools)


def spelled(message):
    """A message less the ids of its calls, in a text that tells `True` from 1."""
    return repr(
        (message.content, [(call.name, sorted(call.arguments.items())) for call in message.tool_calls])
    )


@given(action=actions)
@example(action=Action(message=Message(role="assistant", content="")))
@settings(max_examples=70, deadline=None)
def test_what_is_taught_reads_back_as_itself_or_is_counted(renderer, action):
    taught, forest = learned(renderer, action)
    untaught = [*taught.untaught, *forest.untaught]
    num_labels = sum(tree.num_labels for tree in forest.trees)
    assert (num_labels > 0) == (not untaught)
    assert len(untaught) <= 1
    if untaught:
        assert untaught[0].objection.detail
        return
    (item,) = taught.transitions
    ids = renderer.target_ids(item.state, item.target)
    read = as_sampled(renderer, ids, item.state.tools)
    assert read.parse_error is None
    assert spelled(read.message) == spelled(item.target.message)
    assert num_labels == len(ids)
    if renderer.tool_calls == "text":
        read = read_calls(read, TOOLS)
    for call in read.message.tool_calls:
        assert call.name in {tool.name for tool in TOOLS}
    assert read.message.content.strip() or read.message.tool_calls


plain = st.text(st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0x2FF), max_size=20).filter(
    lambda text: not any(mark in text for mark in "<>[](){}|`")
)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("text", "metaspace", "normalised")])
@given(
    content=plain,
    path=plain,
    line=st.integers(-9, 10**9),
    dry=st.booleans() | st.none(),
    text=plain | st.booleans() | st.integers(0, 9) | st.none(),
)
@settings(max_examples=40, deadline=None)
def test_what_an_ordinary_teacher_says_is_taught(name, content, path, line, dry, text):
    call = ToolCall(
        id="c", name="edit", arguments={"path": path, "line": str(line), "dry": dry, "text": text}
    )
    message = Message(role="assistant", content=content, tool_calls=(call,))
    taught, forest = learned(made_once(name), Action(message=message))
    assert [each.objection for each in (*taught.untaught, *forest.untaught)] == []
    (item,) = taught.transitions
    assert item.target.message.tool_calls[0].arguments["line"] == line
