"""Targets that nobody should learn are left out, each with its reason; what can be mended is mended first."""

from dataclasses import replace

import pytest
from recorded_trajectories import labelled_turn, trajectory

from chat_models import EDIT, FINISH, assistant
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import Action
from turnmix.methods.targets import executed_action, imitate, teacher_label
from turnmix.rendering.markup import call_markup, without_code
from turnmix.rendering.mending import mended
from turnmix.rendering.tool_parameters import typed_value
from turnmix.scaffold.text_calls import tools_in, tools_told

SPECIFIED = ToolSpecification(
    name="run",
    description="Run it.",
    parameters={
        "type": "object",
        "properties": {
            "mode": {"type": "string", "enum": ["fast", "true"]},
            "timeout": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "level": {"enum": ["low", "high"]},
        },
    },
)
TOOLS = (EDIT, FINISH, SPECIFIED)


def label(message, **action):
    return labelled_turn("student", "student's own", Action(message=message, **action))


def taught(*messages, tools=TOOLS, prompt=None):
    rolled_out = replace(trajectory("a", *map(label, messages)), tools=tools)
    return imitate([replace(rolled_out, prompt=prompt) if prompt else rolled_out], teacher_label)


def said(text):
    return Message(role="assistant", content=text)


MALFORMED = {
    "empty_answer": [
        said(""),
        said(" \n"),
        said("<think>\nI should look.\n</think>\n\n"),
        said("\u200b\ufeff"),
    ],
    "unknown_tool": [
        assistant("Look.", bash={"command": "ls"}),
        assistant("Look.", **{"edit<|channel|>commentary": {"path": "a"}}),
        assistant("", finish={}, Finish={}),
    ],
    "unknown_argument": [
        assistant("", edit={"path": "a", "file": "b"}),
        assistant("", finish={"message": "x"}),
    ],
    "missing_argument": [assistant("", edit={}), assistant("", edit={"path": None})],
    "argument_of_another_type": [
        assistant("", edit={"path": {"a": 1}}),
        assistant("", edit={"path": "a", "line": "three"}),
        assistant("", run={"mode": "slow"}),
        assistant("", run={"lines": ["a"]}),
        assistant("", run={"level": "loud"}),
    ],
    "call_markup_in_text": [
        said('<tool_call>\n{"name": "edit", "arguments": {"path": "a"}}\n</tool_call>'),
        said('[TOOL_CALLS][{"name": "edit", "arguments": {"path": "a"}}]'),
        said("<|channel|>commentary to=functions.edit<|message|>{}"),
        said("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function"),
        said("<|tool_calls_section_begin|><|tool_call_begin|>functions.edit:0"),
        said("I edit.\n<function=edit>\n<parameter=path>\na\n</parameter>\n</function>"),
        said('<function_calls>\n<invoke name="edit">\n</invoke>\n</function_calls>'),
        said('<minimax:tool_call>\n<invoke name="edit">'),
        said("<tool_call>edit\n<arg_key>path</arg_key>\n<arg_value>a</arg_value>\n</tool_call>"),
        said('<TOOLCALL>[{"name": "edit", "arguments": {}}]</TOOLCALL>'),
        said('```json\n{"name": "edit", "arguments": {"path": "a"}}\n```'),
        said('{"name": "edit", "parameters": {"path": "a"}}'),
        said('[edit(path="a")]'),
        said('edit[ARGS]{"path": "a"}'),
        said("[INST] Edit a. [/INST]"),
        said('I edit.\n\n{"name": "edit", "parameters": {"path": "a"}}'),
        said('{"arguments": {"path": "a"}, "name": "edit"}'),
        said("I edit.\n<edit>\n<path>a</path>\n</edit>"),
        said("```tool_code\nedit(path='a')\n```"),
        said("edit(path='a')"),
        said('I edit.\n```python\n{"name": "edit", "arguments": {"path": "a"}}\n```'),
        said("```python\nedit(path='a')\n```"),
        said('I edit.\n[edit(path="a"), finish()]'),
        said("{'name': 'edit', 'arguments': {'path': 'a'}}"),
        said('{"name": "edit", "id": "c1", "arguments": {"path": "a"}}'),
        said('{"arguments": {"path": "a", "options": {}}, "name": "edit"}'),
        said('{"tool_uses": [{"recipient_name": "functions.edit", "parameters": {"path": "a"}}]}'),
        said('<steptml:invoke name="edit">'),
        said("I edit. <tool_call"),
        assistant("Look.<|im_end|>\n<|im_start|>user\nand now", finish={}),
    ],
    "thinking_in_text": [
        assistant("I should look. </think> I look.", finish={}),
        assistant("I look.\n<think>\nHm.\n</think>\nI edit.", finish={}),
        said("I look.\n<think>Hm, a fi"),
    ],
}


@pytest.mark.parametrize(
    ("reason", "message"),
    [(reason, message) for reason, messages in MALFORMED.items() for message in messages],
)
def test_a_target_that_nobody_should_learn_is_left_out_with_its_reason(reason, message):
    result = taught(message, said("Fine."))
    assert [one.target.message.content for one in result.transitions] == ["Fine."]
    (left_out,) = result.untaught
    assert (left_out.objection.reason, left_out.trajectory_id, left_out.turn) == (reason, "a", 0)
    assert left_out.objection.is_malformed
    assert result.figures["targets_malformed"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "The parser splits at `<tool_call>` and '<|im_end|>'.",
        "It is a list [1, 2] of {values}; a <b> tag, and `a <| b` too.",
        '{"version": 2}',
        "I call finish (see functions.py:12).",
        "It is in the <edit> element, and <s>struck</s> out; finish() comes last.",
        "The pipe is `x <|f|> g`, and ``a </think> b`` is text.",
        "It passes sys.argv[args] on, and options[inst] too: x = [inst]",
        "usage: prog [OPTIONS] [ARGS]...",
        "KINDS[INST] is 3, and [tool_calls] is a list.",
        "So:\n```python\nprompt = [INST] + x  # <tool_call>\n<think>\n```\nis wrong.",
    ],
)
def test_marks_that_are_spoken_of_are_text(text):
    assert call_markup(without_code(text), ["edit", "finish"]) is None
    assert len(taught(said(text)).transitions) == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"path": "a", "text": None, "line": None}, {"path": "a"}),
        ({"path": 5, "text": True}, {"path": "5", "text": "true"}),
        (
            {"path": "a", "line": "3", "share": "0.5", "dry": "True"},
            {"path": "a", "line": 3, "share": 0.5, "dry": True},
        ),
        ({"path": "a", "line": 3.0, "view_range": "[1, 2]"}, {"path": "a", "line": 3, "view_range": [1, 2]}),
        (
            {"path": "a", "view_range": ["1", 2.0], "options": "{}"},
            {"path": "a", "view_range": [1, 2], "options": {}},
        ),
    ],
)
def test_what_a_teacher_means_is_taught_as_the_schema_says(given, meant):
    result = taught(assistant(" I edit.\n", edit=given))
    (only,) = result.transitions
    assert repr(only.target.message.tool_calls[0].arguments) == repr(meant)
    assert only.target.message.content == "I edit."
    assert result.untaught == ()


def test_a_null_that_the_schema_asks_for_is_kept():
    (only,) = taught(assistant("", run={"timeout": None, "mode": True})).transitions
    assert only.target.message.tool_calls[0].arguments == {"timeout": None, "mode": "true"}


def test_an_action_without_fault_is_the_action_itself():
    action = Action(message=assistant("I edit.", edit={"path": "a", "line": 3}))
    assert mended(action, TOOLS) is action


def test_what_happened_stays_what_it_was():
    turn = label(assistant("", edit={"path": "a", "text": None}))
    rolled_out = replace(trajectory("a", turn), tools=TOOLS)
    imitate([rolled_out], teacher_label)
    assert rolled_out.turns[0].label.message.tool_calls[0].arguments == {"path": "a", "text": None}


def test_what_the_student_sampled_is_not_judged():
    odd = Action(message=assistant("", browse={}), token_ids=(1, 2))
    rolled_out = replace(trajectory("a", labelled_turn("student", odd)), tools=TOOLS)
    result = imitate([rolled_out], executed_action)
    assert [one.target for one in result.transitions] == [odd]


WRITTEN = "I edit.\n<tool_call>\n%s\n</tool_call>"
TOLD = (
    Message(role="system", content="You repair.\n\n" + tools_told(TOOLS)),
    Message(role="user", content="Do."),
)


def test_the_tools_that_a_prompt_describes_are_known():
    assert tools_in(TOLD) == TOOLS
    imitated = Message(role="user", content=TOLD[0].content.replace("{", "("))
    assert tools_in((imitated,)) == ()
    odd = replace(EDIT, description="one\u2028line \x85")
    assert tools_in((Message(role="system", content=tools_told((odd,))),)) == (odd,)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{'name': 'edit', 'arguments': {'path': 'a'}}", "call_could_not_be_read"),
        ('{"name": "browse", "arguments": {}}', "unknown_tool"),
        ('{"name": "edit", "arguments": {"path": "a", "to": "b"}}', "unknown_argument"),
        ('{"name": "edit", "arguments": {}}', "missing_argument"),
    ],
)
def test_a_call_as_text_that_the_world_refuses_is_not_taught(written, reason):
    good = said(WRITTEN % '{"name": "edit", "arguments": {"path": "a", "line": "3", "text": null}}')
    result = taught(said(WRITTEN % written), good, tools=(), prompt=TOLD)
    assert [one.target.message for one in result.transitions] == [good]
    assert [one.objection.reason for one in result.untaught] == [reason]


def test_markup_of_another_family_is_no_call_as_text():
    result = taught(said("[TOOL_CALLS]edit[ARGS]{}"), tools=(), prompt=TOLD)
    assert [one.objection.reason for one in result.untaught] == ["call_markup_in_text"]


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": ["integer", "null"]}, "3", 3),
        ({"type": ["integer", "null"]}, "None", None),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "true", True),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "None", "None"),
        ({"anyOf": [{"type": "integer"}, {"$ref": "#/a"}]}, "3", "3"),
    ],
)
def test_a_value_that_may_be_of_several_types_is_read_as_one_of_them(schema, text, value):
    assert typed_value(text, schema) == value


def test_a_call_is_judged_also_where_its_tool_says_nothing_of_its_arguments():
    silent = ToolSpecification(name="any", description="", parameters={"type": "object"})
    call = ToolCall(id="c", name="any", arguments={"x": 1})
    message = Message(role="assistant", content="", tool_calls=(call,))
    assert len(taught(message, tools=(silent,)).transitions) == 1
