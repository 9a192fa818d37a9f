"""A history survives each dialect: as a vendor's client sends it, and as it sends an answer back."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.gateway.dialects import DIALECTS
from turnmix.gateway.dialects.known import Known
from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError
from vendor_bodies import sent

PATHS = sorted(DIALECTS)
texts = st.text(max_size=20)
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
ids = st.from_regex(r"call_[0-9a-f]{12}", fullmatch=True)
calls = st.builds(ToolCall, id=ids, name=names, arguments=st.dictionaries(texts, json_values, max_size=3))
several_calls = st.lists(calls, max_size=3, unique_by=lambda call: call.id).map(tuple)
answers = st.builds(Message, role=st.just("assistant"), content=texts, tool_calls=several_calls)
messages = (
    answers
    | st.builds(Message, role=st.sampled_from(["system", "user"]), content=texts)
    | st.builds(Message, role=st.just("tool"), content=texts, tool_call_id=ids)
)
tools = st.lists(
    st.builds(
        ToolSpecification,
        name=names,
        description=texts,
        parameters=st.just({"type": "object", "properties": {"path": {"type": "string"}}}),
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)
requests = st.builds(
    ModelRequest,
    model=st.just("student"),
    messages=st.lists(messages, max_size=6).map(lambda all: (*all, Message(role="user", content="Go on."))),
    tools=tools,
)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40, deadline=None)
@given(request=requests)
def test_a_request_is_read_as_the_client_meant_it(path, request):
    read, is_streamed = DIALECTS[path].read(sent(request, path))
    assert read.messages == request.messages
    assert read.tools == request.tools
    assert not is_streamed


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40, deadline=None)
@given(message=answers, finish=st.sampled_from(["stop", "tool_calls", "length"]))
def test_an_answer_that_is_sent_back_is_the_same_message(path, message, finish):
    answer = ModelAnswer(
        id="answer_1f_0",
        model="student",
        created=1,
        message=message,
        finish=finish,
        prompt_tokens=2,
        completion_tokens=3,
    )
    dialect = DIALECTS[path]
    asked = {"model": "student", ("input" if path == "/responses" else "messages"): [_said("Begin.")]}
    written = dialect.write(answer, asked)
    if path == "/responses":
        asked["input"] += [*written["output"], _said("Go on.")]
    elif path == "/messages":
        asked["messages"] += [{"role": "assistant", "content": written["content"]}, _said("Go on.")]
    else:
        asked["messages"] += [written["choices"][0]["message"], _said("Go on.")]
    assert dialect.read(asked)[0].messages[1] == message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
known_words = st.sampled_from(
    [
        *(
            "role",
            "content",
            "type",
            "text",
            "user",
            "assistant",
            "tool",
            "tool_calls",
            "function",
            "arguments",
        ),
        *("name", "id", "input", "output", "call_id", "tool_use", "tool_result", "system", "custom", "tools"),
        *("tool_choice", "stop", "parameters", "input_schema", "function_call", "message"),
    ]
)
half_known = st.recursive(
    anything | known_words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known_words, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40, deadline=None)
@given(body=st.dictionaries(known_words | st.sampled_from(["messages", "input", "model"]), half_known))
def test_whatever_a_body_holds_it_is_read_or_refused_by_name(path, body):
    found = _read_or_refused(path, {"model": "student", **body})
    if isinstance(found, RequestError):
        assert found.fault == "invalid_request"
        assert found.parameter
        assert str(found).startswith(found.parameter)
        assert len(str(found)) < 800
        DIALECTS[path].error_event(found).decode()
    else:
        assert json.dumps([message.to_json() for message in found.messages], ensure_ascii=False).encode()


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40, deadline=None)
@given(message=half_known, tool=half_known, choice=half_known)
def test_whatever_a_message_a_tool_or_a_choice_is_it_is_read_or_refused(path, message, tool, choice):
    where = "input" if path == "/responses" else "messages"
    for more in ({}, {"tools": [tool]}, {"tool_choice": choice}):
        found = _read_or_refused(path, {"model": "student", where: [message], **more})
        assert not isinstance(found, RequestError) or found.parameter


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None)
@given(
    request=requests,
    cuts=st.lists(st.integers(1, 8), min_size=1, max_size=5),
    odd=st.none() | half_known,
    value=st.sampled_from([1, 1.0, True, "1"]),
    offers=st.lists(
        st.sampled_from([1, 1.0, True, "twice", "none", "chosen", "odd"]), min_size=5, max_size=5
    ),
)
def test_what_was_read_of_the_requests_before_makes_no_difference(path, request, cuts, odd, value, offers):
    where = "input" if path == "/responses" else "messages"
    body = sent(request, path)
    known = Known()
    called = Message(
        role="assistant", content="", tool_calls=(ToolCall(id="call_0", name="f", arguments={"a": value}),)
    )
    other = sent(replace(request, messages=(called, *request.messages)), path)[where]
    for number, cut in enumerate(cuts):
        said = (body[where] if number % 2 else other)[:cut]
        asked = {**body, where: [*said, *([] if odd is None else [odd])], **_offer(path, offers[number], odd)}
        alone, beside = _read_or_refused(path, asked), _read_or_refused(path, asked, known)
        assert repr(alone) == repr(beside)


@pytest.mark.parametrize("number", [0, 1])
def test_an_argument_that_became_another_value_is_read_again(number):
    """`number`: of messages that an earlier request had sent already."""
    known = Known()
    first, second = (
        [
            _said("Begin."),
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_0", "name": "f", "input": {"a": value}}],
            },
            _said("Go on."),
        ]
        for value in (1, True)
    )
    if number:
        _read_or_refused("/messages", {"model": "s", "max_tokens": 9, "messages": first[:number]}, known)
    for messages, value in ((first, 1), ([*second, _said("Further.")], True)):
        found = _read_or_refused("/messages", {"model": "s", "max_tokens": 9, "messages": messages}, known)
        assert found.messages[1].tool_calls[0].arguments["a"] is value


def _read_or_refused(path, body, known=None):
    try:
        return DIALECTS[path].read(body, known)[0]
    except RequestError as error:
        return error


def _offer(path, kind, odd):
    """Tools whose schema holds a number, or a list that is refused, or a choice that is."""
    tool = ToolSpecification(
        name="f", description="", parameters={"type": "object", "maxProperties": 1 if kind == "odd" else kind}
    )
    request = ModelRequest(model="s", messages=(Message(role="user", content="Go on."),), tools=(tool,))
    (written,) = sent(request, path)["tools"]
    more = {"twice": [written], "odd": [odd]}
    choice = {"tool_choice": {"type": "tool" if path == "/messages" else "function", "name": "g"}}
    return {"none": {}, "chosen": {"tools": [written], **choice}}.get(
        kind, {"tools": [written, *more.get(kind, [])]}
    )


def _said(text):
    return {"role": "user", "content": text}
