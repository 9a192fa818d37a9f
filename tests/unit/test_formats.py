"""What each family's tool-call text means, and what the agent is told when it means nothing."""

import json

import pytest

from chat_models import TOOLS
from turnmix.core.message import ToolCall
from turnmix.rendering.formats import HermesFormat, Qwen3CoderFormat, formats_in

HERMES, CODER = HermesFormat(), Qwen3CoderFormat()


def hermes(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


def coder(body: str) -> str:
    return f"<tool_call>\n<function=edit>\n{body}</function>\n</tool_call>"


def test_text_around_several_calls_is_the_content_and_calls_are_named_by_position():
    text = (
        'First.\n<tool_call>\n{"name": "edit", "arguments": {"path": "a"}}\n</tool_call>\nThen.\n'
        '<tool_call>{"arguments": {}, "name": "finish"}</tool_call>  '
    )
    parsed = HERMES.parse(text, TOOLS)
    assert parsed.error is None
    assert parsed.content == "First.\nThen."
    assert parsed.tool_calls == (
        ToolCall(id="call_0", name="edit", arguments={"path": "a"}),
        ToolCall(id="call_1", name="finish", arguments={}),
    )


def test_a_turn_without_a_call_keeps_its_text_as_it_is():
    for format in (HERMES, CODER):
        parsed = format.parse("  I am done.\n", TOOLS)
        assert (parsed.content, parsed.tool_calls, parsed.error) == ("  I am done.\n", (), None)


def test_a_closing_tag_inside_a_json_string_does_not_end_the_call():
    arguments = {"path": "a", "text": "</tool_call> and <tool_call>"}
    parsed = HERMES.parse(hermes(json.dumps({"name": "edit", "arguments": arguments})), TOOLS)
    assert parsed.tool_calls[0].arguments == arguments


def test_a_closing_tag_inside_a_parameter_does_not_end_it():
    text = coder("<parameter=text>\nx</parameter>\ny\n</parameter>\n<parameter=path>\na\n</parameter>\n")
    assert CODER.parse(text, TOOLS).tool_calls[0].arguments == {"text": "x</parameter>\ny", "path": "a"}


def test_calls_inside_a_thinking_block_are_not_read():
    thought = "<think>\nMaybe " + hermes('{"name": "finish", "arguments": {}}') + "?\n</think>\n\n"
    assert HERMES.parse(thought + "No.", TOOLS).tool_calls == ()
    parsed = HERMES.parse(thought + hermes('{"name": "edit", "arguments": {"path": "a"}}'), TOOLS)
    assert [call.name for call in parsed.tool_calls] == ["edit"]
    assert parsed.content == thought.strip()


def test_a_thinking_block_that_the_prompt_opened_is_closed_by_its_end_alone():
    text = "Maybe " + "<tool_cal\n</think>\n" + hermes('{"name": "finish", "arguments": {}}')
    assert HERMES.parse(text, TOOLS).content == "Maybe <tool_cal\n</think>"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('{"name": "edit", "arguments": {"path": "a"}', "the JSON is invalid"),
        ("{'name': 'edit'}", "the JSON is invalid"),
        ("", "the JSON is invalid"),
        ('["edit"]', "must be an object"),
        ('{"name": "edit"}', "lacks the key `arguments`"),
        ('{"arguments": {}}', "lacks the key `name`"),
        ('{"name": "edit", "arguments": {}, "path": "a"}', "unknown key 'path'"),
        ('{"name": 3, "arguments": {}}', "`name` must be the name of a tool"),
        ('{"name": "edit", "arguments": "{}"}', "`arguments` must be a JSON object"),
        ('{"name": "edit", "arguments": {"line": NaN}}', "NaN is no JSON number"),
        ('{"name": "edit", "arguments": {"line": -Infinity}}', "-Infinity is no JSON number"),
        ('{"name": "edit", "arguments": {"line": 1e999}}', "1e999 is too large"),
        ('{"name": "edit", "arguments": {"line": ' + "9" * 9000 + "}}", "more than 40 digits"),
        ('{"name": "edit", "arguments": {"a": 1, "a": 2}}', "the key 'a' is given twice"),
        ('{"name": "edit", "arguments": {"a": "\\ud800"}}', "half of a \\u surrogate pair"),
        ('{"name": "edit", "arguments": {"\\udfff": 1}}', "half of a \\u surrogate pair"),
        ('{"name": "edit", "arguments": ' + '{"a": ' * 100 + "1" + "}" * 101, "deeper than 32 levels"),
        ("[" * 100_000, "deeper than 32 levels"),
        ('{"name": "edit", "arguments": {}} and so on', "must be followed by `</tool_call>`"),
    ],
)
def test_a_malformed_hermes_call_is_named_with_the_right_form(body, complaint):
    text = "Now. " + hermes(body)
    parsed = HERMES.parse(text, TOOLS)
    assert complaint in parsed.error
    assert '<tool_call>\n{"name": "edit", "arguments": {"path": "..."}}\n</tool_call>' in parsed.error
    assert (parsed.content, parsed.tool_calls) == (text, ())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<tool_call>\nedit\n</tool_call>", "followed by `<function=NAME>`"),
        ("<tool_call>\n<function= >\n</function>\n</tool_call>", "followed by `<function=NAME>`"),
        (coder("<parameter=path>\na\n"), "`path` is not closed"),
        (coder("<parameter=path>a</parameter><parameter=path>b</parameter>"), "`path` is given twice"),
        (coder("path=a\n"), "`edit` is not closed by `</function>`"),
        ("<function=edit>\n</function>", "stands outside of a `<tool_call>` block"),
        ("<tool_call>\n<function=edit>\n</function>", "must be followed by `</tool_call>`"),
        ("<think>\nHm. <tool_call>", "thinking block is not closed"),
        ("done</tool_call>", "`</tool_call>` stands outside"),
    ],
)
def test_a_malformed_coder_call_is_named_with_the_right_form(text, complaint):
    parsed = CODER.parse(text, TOOLS)
    assert complaint in parsed.error
    assert "<function=edit>\n<parameter=path>\n...\n</parameter>\n</function>" in parsed.error
    assert (parsed.content, parsed.tool_calls) == (text, ())


def test_one_malformed_call_among_several_executes_none():
    good = hermes('{"name": "finish", "arguments": {}}')
    assert HERMES.parse(good + hermes("{}") + good, TOOLS).tool_calls == ()


def test_coder_values_have_the_type_of_the_schema_and_are_text_otherwise():
    values = {"line": "3", "share": "0.5", "dry": "True", "view_range": "[1, 20]", "options": '{"a": null}'}
    values |= {"text": "3", "unknown": "4", "path": ""}
    body = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    assert CODER.parse(coder(body), TOOLS).tool_calls[0].arguments == {
        "line": 3,
        "share": 0.5,
        "dry": True,
        "view_range": [1, 20],
        "options": {"a": None},
        "text": "3",
        "unknown": "4",
        "path": "",
    }


def test_coder_values_that_do_not_fit_the_schema_stay_text_for_the_tool_to_refuse():
    body = (
        "<parameter=line>\nthree\n</parameter><parameter=dry>maybe</parameter><parameter=view_range>[1, NaN]"
    )
    parsed = CODER.parse(coder(body + "</parameter>"), TOOLS)
    assert parsed.tool_calls[0].arguments == {"line": "three", "dry": "maybe", "view_range": "[1, NaN]"}


def test_a_lone_surrogate_in_the_text_becomes_a_replacement_character():
    assert HERMES.parse("a\ud800b\ud83d\ude00", TOOLS).content == "a\ufffdb\U0001f600"


def test_the_format_follows_the_template():
    assert [format.name for format in formats_in("…<tool_call>\n<function=…><parameter=…")] == ["qwen3-coder"]
    assert [format.name for format in formats_in('…<tool_call>\n{"name": …, "arguments": …')] == ["hermes"]
    assert formats_in("{{ messages }}") == ()


@pytest.mark.parametrize(
    "draft",
    [
        "I could end with " + hermes('{"name": "finish", "arguments": {}}') + " but no.",
        "I could write <tool_call> here.",
        hermes('{"name": "finish", "arguments": {}}') + "\n" + hermes("{oops"),
    ],
)
def test_a_call_drafted_in_thinking_that_the_prompt_opened_is_no_call(draft):
    real = hermes('{"name": "edit", "arguments": {"path": "a"}}')
    parsed = HERMES.parse(f"{draft}\n</think>\n\n{real}", TOOLS)
    assert [call.name for call in parsed.tool_calls] == ["edit"]
    assert HERMES.parse(f"{draft}\n</think>\n\nNo.", TOOLS).tool_calls == ()


def test_a_mark_of_thinking_inside_the_arguments_of_a_call_ends_no_thinking():
    call = hermes('{"name": "edit", "arguments": {"path": "a", "text": "</think>"}}')
    for text in (call, f"{call}\n{call}", f"I edit.\n{call}"):
        parsed = HERMES.parse(text, TOOLS)
        assert parsed.error is None
        assert {given.arguments["text"] for given in parsed.tool_calls} == {"</think>"}
    assert HERMES.parse(f"{call}\nThe mark </think> is in it.", TOOLS).tool_calls != ()
