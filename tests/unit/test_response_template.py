"""A model whose tokenizer says how its turns are read is taught like any other."""

import copy
import json
import random

import pytest

from bracket_template import BRACKETS, READ_BRACKETS
from chat_models import TOOLS, answer, assistant, conversation, make_tokenizer
from sampled_turns import sampled
from turnmix.core.errors import UserError
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action
from turnmix.rendering.renderer import Renderer

if not hasattr(make_tokenizer(), "get_response_parser"):
    pytest.skip("needs transformers 5.13 or newer", allow_module_level=True)

# Calls whose values are plain text, as lines `key = value`.
LINES = BRACKETS.replace("(call.function.arguments | tojson)", "ns.lines").replace(
    "    {{- '\n['",
    "    {%- set ns = namespace(lines='') %}{%- for key, value in call.function.arguments | items %}\n"
    "    {%- set ns.lines = ns.lines + key + ' = ' + (value if value is string else value | tojson) + ';;' %}"
    "{%- endfor %}\n    {{- '\n['",
)
READ_LINES = copy.deepcopy(READ_BRACKETS)
READ_LINES["fields"]["tool_calls"] |= {
    "content": "xml-inline",
    "content_args": {"tag_pattern": r"(?P<key>\w+) = (?P<value>.*?);;"},
}
EXAMPLE = '[edit]\n{"path": "..."}\n[/]'


def make_renderer(template=BRACKETS, response_template=READ_BRACKETS):
    tokenizer = copy.deepcopy(make_tokenizer())
    tokenizer.chat_template = template
    tokenizer.response_template = response_template
    return Renderer(tokenizer)


def parse(text, renderer=None):
    return (renderer or make_renderer()).format.parse(text, TOOLS)


@pytest.mark.parametrize(("template", "reading"), [(BRACKETS, READ_BRACKETS), (LINES, READ_LINES)])
def test_the_tokenizers_own_format_passes_the_start_up_checks(template, reading):
    renderer = make_renderer(template, reading)
    renderer.check()
    assert renderer.format.name == "response-template"
    message = assistant(
        "I look.", edit={"path": "a", "line": 3, "view_range": [1, 2], "dry": True}, finish={}
    )
    ids = renderer.target_ids(conversation(), Action(message=message))
    assert renderer.parse(ids, TOOLS) == Action(message=message, token_ids=tuple(ids))


def test_text_around_calls_is_the_content():
    parsed = parse('First.\n[edit]\n{"path": "a"}\n[/]\nThen.\n[finish]{}[/]\n')
    assert (parsed.content, parsed.error) == ("First.\nThen.", None)
    assert parsed.tool_calls == (
        ToolCall(id="call_0", name="edit", arguments={"path": "a"}),
        ToolCall(id="call_1", name="finish", arguments={}),
    )


def test_thinking_is_a_block_of_the_content_and_goes_back_into_its_own_field():
    renderer = make_renderer()
    tokenizer = make_tokenizer()
    text = '((Maybe b.))\nI look.\n[edit]\n{"path": "a"}\n[/]'
    action = sampled(renderer, tokenizer, text)
    assert action.message.content == "<think>\nMaybe b.\n</think>\n\nI look."
    assert renderer.target_text(conversation(), action.message) == text + "<|im_end|>"
    assert renderer.kept_turns(conversation(action.message, answer("1 line"))) == [True]


def test_a_field_that_the_generation_prompt_opens_is_read_from_its_middle():
    opened = BRACKETS.replace("'<|im_start|>assistant\n' }}", "'<|im_start|>assistant\n((' }}")
    assert opened != BRACKETS
    parsed = make_renderer(opened).format.parse("Maybe b.))\nI look.", TOOLS)
    assert parsed.content == "<think>\nMaybe b.\n</think>\n\nI look."


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[edit]\n{'path': 'a'}\n[/]", "it cannot be read: json parser could not parse region"),
        ('[edit]\n["a"]\n[/]', "the arguments of `edit` must be an object"),
        ('[edit]\n{"line": NaN}\n[/]', "the arguments of `edit` are no JSON object: NaN is no JSON number"),
        ('[edit]\n{"path": "\\ud800"}\n[/]', "half of a \\u surrogate pair"),
        ('[edit]\n{"a": ' + "[" * 40 + "]" * 40 + "}\n[/]", "deeper than 32 levels"),
        ("[edit]\n" + "[" * 100_000 + "\n[/]", "it cannot be read"),
        ('[edit]\n{"path": "a"}\n', "the call is not closed"),
        ('[finish]\n{}\n[/]\n[edit]\n{"path": "a"}', "the call is not closed"),
    ],
)
def test_a_malformed_call_executes_nothing_and_shows_the_right_form(text, complaint):
    parsed = parse(text)
    assert complaint in parsed.error
    assert parsed.error.endswith("Write a tool call exactly like this:\n" + EXAMPLE)
    assert (parsed.content, parsed.tool_calls) == (text, ())


def test_a_call_of_plain_values_that_was_cut_off_executes_nothing():
    renderer = make_renderer(LINES, READ_LINES)
    whole = "[edit]\npath = a;;text = long;;\n[/]"
    assert parse(whole, renderer).tool_calls[0].arguments == {"path": "a", "text": "long"}
    for end in range(len("[edit]"), len(whole)):
        assert parse(whole[:end], renderer).tool_calls == ()


def test_a_format_that_lists_its_calls_up_to_the_end_of_the_turn_is_read_too():
    start = BRACKETS.index("  {%- for call in")
    template = (
        BRACKETS[:start]
        + """
  {%- for call in message.tool_calls or [] %}
    {{- '\n[CALLS][' if loop.first else ', ' }}
    {{- call.function | tojson }}
    {{- ']' if loop.last }}
  {%- endfor %}
"""
        + BRACKETS[BRACKETS.index("  {{- '<|im_end|>\n' }}") :]
    )
    reading = copy.deepcopy(READ_BRACKETS)
    call = {"type": "function", "function": {"name": "{name}", "arguments": "{arguments}"}}
    reading["fields"]["tool_calls"] = {
        "open_pattern": r"\s*\[CALLS\]",
        "content": "json",
        "transform": call,
        "transform_each": True,
    }
    renderer = make_renderer(template, reading)
    renderer.check()
    assert "it cannot be read" in renderer.format.parse('[CALLS][{"name": "edit", ', TOOLS).error


def test_mutated_calls_never_raise_and_can_always_be_stored():
    generator, renderer = random.Random(0), make_renderer()
    text = '((Hm.))\nI edit.\n[edit]\n{"path": "/w/a.py", "line": 3}\n[/]'
    outcomes = {"calls": 0, "error": 0, "content": 0}
    for _ in range(500):
        letters = list(text)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(letters) + 1)
            if generator.random() < 0.5:
                letters[place : place + generator.randint(1, 8)] = []
            else:
                letters.insert(place, generator.choice(["[", "]", '"', "}", "((", "\ud800", "\x00", "[/]"]))
        parsed = parse("".join(letters), renderer)
        assert not (parsed.error and parsed.tool_calls)
        message = Message(role="assistant", content=parsed.content, tool_calls=parsed.tool_calls)
        json.dumps(message.to_json(), ensure_ascii=False).encode()
        outcomes["error" if parsed.error else "calls" if parsed.tool_calls else "content"] += 1
    assert min(outcomes.values()) > 20, outcomes


def test_a_template_that_only_looks_like_hermes_is_read_as_its_tokenizer_says():
    template = BRACKETS.replace("[/]", "</tool_call>").replace("'\n[' +", "'\n<tool_call>[' +")
    reading = copy.deepcopy(READ_BRACKETS)
    reading["fields"]["tool_calls"] |= {
        "open_pattern": r"\s*<tool_call>\[(?P<name>\w+)\]",
        "close": "</tool_call>",
    }
    renderer = make_renderer(template, reading)
    assert renderer.format.name == "response-template"
    renderer.check()


def test_a_tokenizer_that_reads_calls_otherwise_than_its_template_writes_them_is_refused():
    reading = copy.deepcopy(READ_BRACKETS)
    reading["fields"]["tool_calls"]["open_pattern"] = r"\s*<<(?P<name>\w+)>>"
    with pytest.raises(UserError, match=r"student\.model: 'tiny' writes .* which reads back as"):
        make_renderer(BRACKETS, reading).check()


def test_a_template_of_no_known_format_and_no_response_template_is_refused_by_name():
    with pytest.raises(UserError, match=r"student\.model: 'tiny' .*Hermes JSON .*response_template"):
        make_renderer(BRACKETS, None)
