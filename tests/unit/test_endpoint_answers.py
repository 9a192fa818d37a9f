"""What of a server's answer becomes an action: text and calls of the model, and nothing else."""

import json

import pytest

from turnmix.core.message import ToolCall
from turnmix.policies.endpoint.wire import MalformedAnswer, read_answer
from turnmix.rendering.thinking import holds_thinking, without_thinking

LS = {"name": "execute_bash", "arguments": '{"command": "ls"}'}


def answered(content=None, *, finish_reason="stop", **message):
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"content": content, **message}}
    return read_answer(json.dumps({"choices": [choice]}).encode())


@pytest.mark.parametrize(
    "content", [None, "", " \n", [], "<think>\nI should look.\n</think>\n\n", "<think>Hm"]
)
@pytest.mark.parametrize("finish_reason", ["stop", None, "STOP", "end_turn", "length", "tool_calls"])
def test_an_answer_with_neither_text_nor_call_is_a_parse_error(content, finish_reason):
    action = answered(content, finish_reason=finish_reason, reasoning_content="I should look.")
    assert action.parse_error is not None
    assert action.message.tool_calls == ()


@pytest.mark.parametrize(
    "finish_reason",
    [
        "content_filter",
        "error",
        "abort",
        "insufficient_system_resource",
        "network_error",
        "RECITATION",
        "sensitive",
    ],
)
@pytest.mark.parametrize("content", [None, "Half a"])
def test_a_server_that_gave_up_is_asked_again(finish_reason, content):
    with pytest.raises(MalformedAnswer, match=finish_reason):
        answered(content, finish_reason=finish_reason)


def test_an_unknown_end_is_asked_again_where_the_answer_is_empty_and_taken_where_it_is_not():
    with pytest.raises(MalformedAnswer, match="OTHER"):
        answered(None, finish_reason="OTHER")
    assert answered("Done.", finish_reason="OTHER").parse_error is None


@pytest.mark.parametrize("finish_reason", ["length", "LENGTH", "max_tokens", "MAX_TOKENS", "model_length"])
def test_an_answer_that_was_cut_is_no_text_in_any_providers_words(finish_reason):
    assert "was cut" in answered("I will now", finish_reason=finish_reason).parse_error


@pytest.mark.parametrize(
    "arguments",
    [
        '{"command": "a", "command": "b"}',
        '{"command": "\\ud83d"}',
        '{"a": 1e400}',
        '{"a": %s}' % ("9" * 99),
        "{} x",
    ],
)
def test_arguments_that_a_student_may_not_write_are_its_teachers_mistake_too(arguments):
    action = answered(tool_calls=[{"id": "x", "function": {"name": "execute_bash", "arguments": arguments}}])
    assert action.message.tool_calls == ()
    assert "execute_bash" in action.parse_error


@pytest.mark.parametrize(
    ("usage", "counted"),
    [([], None), ({"prompt_tokens": 7.0, "prompt_tokens_details": []}, 7), ({"prompt_tokens": -1}, None)],
)
def test_no_answer_is_lost_for_how_its_tokens_are_counted(usage, counted):
    body = {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}], "usage": usage}
    action = read_answer(json.dumps(body).encode())
    assert (action.message.content, action.prompt_tokens) == ("Yes.", counted)


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "function_call_filter: MALFORMED_FUNCTION_CALL"]
)
def test_a_call_that_the_server_could_not_read_is_the_models_mistake(reason):
    assert "none that could be read" in answered(None, finish_reason=reason).parse_error


def test_a_call_in_the_older_field_is_a_call():
    action = answered(None, finish_reason="function_call", function_call=LS)
    assert action.message.tool_calls == (
        ToolCall(id="call_0", name="execute_bash", arguments={"command": "ls"}),
    )
    assert answered(None, function_call={"name": "execute_bash", "arguments": "{"}).parse_error is not None


@pytest.mark.parametrize(("opening", "closing"), [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
@pytest.mark.parametrize("is_opened", [True, False])
def test_leading_thoughts_are_cut_as_those_of_the_field_for_them_are(opening, closing, is_opened):
    text = f"{opening if is_opened else ''}\nFirst I look.\n\nThen I think.\n{closing}\n\nI look."
    action = answered(text, tool_calls=[{"id": "x", "function": LS}])
    assert action.message.content == "I look."
    assert action.parse_error is None
    assert (
        answered([{"type": "thinking", "text": "Hm."}, {"type": "text", "text": "Yes."}]).message.content
        == "Yes."
    )


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Hm.\n</think>\n<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>"),
        ("Hm.</think><tool_call>{}</tool_call>", "<tool_call>{}</tool_call>"),
        ("<think>a</think>\n<think>b</think>\nYes.", "Yes."),
        ("</think>\n\nYes.", "Yes."),
        ("", ""),
        ("In prose: <think>\nHm.\n</think>\n is a block.", "In prose: <think>\nHm.\n</think>\n is a block."),
        ("The mark </think> ends it.", "The mark </think> ends it."),
        ("It ends with </think>\nand then it goes on.", "It ends with </think>\nand then it goes on."),
        ("It ends with `</think>`\nand then it goes on.", "It ends with `</think>`\nand then it goes on."),
        ("Hm.</think>Yes.", "Yes."),
        ("It splits at `</think>`.\n</think>\n\nYes.", "Yes."),
    ],
)
def test_only_what_leads_is_thinking(text, left):
    assert without_thinking(text) == left


def test_a_lone_mark_that_nothing_explains_is_noticed_and_a_quoted_one_is_not():
    assert holds_thinking("Hm. </think> Yes.")
    assert holds_thinking('It splits at "</think>". </think> Yes.')
    assert not holds_thinking('It splits at "</think>" and goes on.')
    assert not holds_thinking("In prose <think>Hm.</think> is a block.")


@pytest.mark.parametrize("leaf", ["1", "NaN", r'"\ud800"'])
def test_an_answer_that_nests_deeply_is_read_or_refused_however_deep_it_is_read(leaf):
    function = f'{{"name": "execute_bash", "arguments": {"[" * 600}{leaf}{"]" * 600}}}'
    message = f'{{"role": "assistant", "tool_calls": [{{"id": "a", "function": {function}}}]}}'
    body = f'{{"choices": [{{"finish_reason": "stop", "message": {message}}}]}}'.encode()

    def read(frames):
        if frames:
            return read(frames - 1)
        try:
            return read_answer(body).parse_error
        except MalformedAnswer as refused:
            return str(refused)

    for frames in range(0, 600, 20):
        assert any(told in read(frames) for told in ("not a JSON object", "nested"))
