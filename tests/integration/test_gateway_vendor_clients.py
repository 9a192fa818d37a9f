"""The vendors' own clients talk to the dialects over HTTP: what they put together is the answer, and what they send
back is the same message."""

import asyncio
import json
from itertools import product

import anthropic
import openai
import pytest
from pydantic import BaseModel

from dialect_server import served_dialects
from turnmix.core.message import Message, ToolCall
from turnmix.gateway.model_request import AnswerToken, ModelAnswer, RequestError

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/messages"
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
CALLS = (
    ToolCall(
        id="call_1a",
        name="run",
        arguments={"command": "echo 'Grüße \u2028 \x00 \\n'", "deep": [{"a": [1.5, None]}]},
    ),
    ToolCall(id="call_2b", name="run", arguments={}),
)
LONG = "Ich sehe 👩‍👩‍👧 nach.\n\n" * 40
ANSWERS = {
    "text and calls": Message(role="assistant", content=LONG, tool_calls=CALLS),
    "a call": Message(role="assistant", content="", tool_calls=CALLS[:1]),
    "text": Message(role="assistant", content="data: x\n\nevent: y\r\n"),
    "nothing": Message(role="assistant", content=""),
}
FINISH = {"text and calls": "tool_calls", "a call": "tool_calls", "text": "length", "nothing": "stop"}


@pytest.fixture(scope="module")
def served():
    with served_dialects() as found:
        yield found


@pytest.fixture
def dialects(served):
    dialects = served[0]
    dialects.answers, dialects.asked, dialects.fails_late = [], [], False
    return dialects


@pytest.fixture(scope="module")
def openai_client(served):
    with openai.OpenAI(base_url=f"{served[1]}/v1", api_key="key", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(served):
    with anthropic.Anthropic(base_url=served[1], api_key="key", max_retries=0) as client:
        yield client


def answer(name="text", **more):
    given = {
        "id": f"answer_0c_{len(name)}",
        "model": "student",
        "created": 1_700_000_000,
        "message": ANSWERS[name],
        "finish": FINISH[name],
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "cached_tokens": 8,
    }
    return ModelAnswer(**{**given, **more})


def chat(client, way, said):
    """The client's own message and finish reason."""
    tools = [{"type": "function", "function": {"name": "run", "parameters": SCHEMA, "strict": True}}]
    asked = {"model": "student", "messages": said, "tools": tools}
    if way == "whole":
        completion = client.chat.completions.create(**asked)
    elif way == "parsed":
        asked["tools"][0]["function"]["parameters"] = {**SCHEMA, "additionalProperties": False}
        completion = client.chat.completions.parse(**asked)
    else:
        asked["stream_options"] = {"include_usage": True}
        with client.chat.completions.stream(**asked) as stream:
            completion = stream.get_final_completion()
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (20, 25)
    return [completion.choices[0].message], completion.choices[0].finish_reason


def responses(client, way, said):
    tools = [{"type": "function", "name": "run", "parameters": SCHEMA, "strict": False}]
    asked = {"model": "student", "input": said, "tools": tools}
    if way == "whole":
        response = client.responses.create(**asked)
    elif way == "parsed":
        response = client.responses.parse(**asked)
    else:
        with client.responses.stream(**asked) as stream:
            list(stream)
            response = stream.get_final_response() if stream._state._completed_response else None
    if response is None:  # the helper keeps completed responses alone: this one was cut
        response = [event for event in client.responses.create(**asked, stream=True)][-1].response
    assert (response.usage.input_tokens, response.usage.total_tokens) == (20, 25)
    return response.output, response.incomplete_details and response.incomplete_details.reason


def messages(client, way, said):
    tools = [{"name": "run", "input_schema": SCHEMA}]
    asked = {"model": "student", "messages": said, "tools": tools, "max_tokens": 100}
    if way == "whole":
        message = client.messages.create(**asked)
    elif way == "parsed":
        message = client.messages.parse(**asked)
    else:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens == 20
    assert message.usage.output_tokens == 5
    return [{"role": "assistant", "content": message.content}], message.stop_reason


ASKING = {CHAT: chat, RESPONSES: responses, MESSAGES: messages}
REASONS = {
    CHAT: {"stop": "stop", "tool_calls": "tool_calls", "length": "length"},
    RESPONSES: {"stop": None, "tool_calls": None, "length": "max_output_tokens"},
    MESSAGES: {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"},
}


RAISED = {("streamed", CHAT, "text"), ("parsed", CHAT, "text")}
"""By the client itself, where an answer is cut."""


@pytest.mark.parametrize(
    ("way", "path", "name"),
    [case for case in product(["whole", "streamed", "parsed"], ASKING, ANSWERS) if case not in RAISED],
)
def test_what_a_client_sends_back_is_the_answer_that_it_got(
    dialects, openai_client, anthropic_client, path, way, name
):
    client = anthropic_client if path == MESSAGES else openai_client
    dialects.answers = [answer(name), answer(name), answer("nothing"), answer("nothing")]
    said = [{"role": "user", "content": "Mend it."}]
    given, reason = ASKING[path](client, way, said)
    assert reason == REASONS[path][FINISH[name]]
    say = {"role": "user", "content": "Go on."}
    ASKING[path](client, "whole", [*said, *given, say])
    assert dialects.asked[-1].messages[1] == ANSWERS[name]


def test_a_chat_that_was_cut_is_told_as_such(dialects, openai_client):
    dialects.answers = [answer("text"), answer("text")]
    asked = {"model": "student", "messages": [{"role": "user", "content": "a"}]}
    with (
        openai_client.chat.completions.stream(**asked) as stream,
        pytest.raises(openai.LengthFinishReasonError),
    ):
        stream.get_final_completion()
    chunks = list(openai_client.chat.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWERS["text"].content
    assert chunks[-1].choices[0].finish_reason == "length"


def test_clients_that_wait_for_nothing_get_the_same(served, dialects):
    dialects.answers = [answer("text and calls") for _ in range(6)]
    said = [{"role": "user", "content": "Mend it."}]

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{served[1]}/v1", api_key="key", max_retries=0) as client:
            whole = await client.chat.completions.create(model="student", messages=said)
            async with client.chat.completions.stream(model="student", messages=said) as stream:
                streamed = await stream.get_final_completion()
            for completion in (whole, streamed):
                message = completion.choices[0].message
                assert message.content == LONG
                assert [call.id for call in message.tool_calls] == ["call_1a", "call_2b"]
            whole = await client.responses.create(model="student", input="Mend it.")
            async with client.responses.stream(model="student", input="Mend it.") as stream:
                streamed = await stream.get_final_response()
            assert whole.output_text == streamed.output_text == LONG
            assert [item.type for item in streamed.output] == ["message", "function_call", "function_call"]
        async with anthropic.AsyncAnthropic(base_url=served[1], api_key="key", max_retries=0) as client:
            whole = await client.messages.create(model="student", messages=said, max_tokens=9)
            async with client.messages.stream(model="student", messages=said, max_tokens=9) as stream:
                pieces = [piece async for piece in stream.text_stream]
                streamed = await stream.get_final_message()
            assert len(pieces) > 3
            assert "".join(pieces) == LONG
            assert [block.to_dict() for block in whole.content] == [
                block.to_dict() for block in streamed.content
            ]

    asyncio.run(ask())


class Verdict(BaseModel):
    resolved: bool


def test_answers_in_a_form_are_parsed(dialects, openai_client, anthropic_client):
    told = Message(role="assistant", content='{"resolved": true}')
    dialects.answers = [answer("nothing", message=told) for _ in range(3)]
    said = [{"role": "user", "content": "Is it?"}]
    completion = openai_client.chat.completions.parse(model="student", messages=said, response_format=Verdict)
    assert completion.choices[0].message.parsed == Verdict(resolved=True)
    response = openai_client.responses.parse(model="student", input=said, text_format=Verdict)
    assert response.output_parsed == Verdict(resolved=True)
    message = anthropic_client.messages.parse(
        model="student", messages=said, max_tokens=9, output_format=Verdict
    )
    assert message.parsed_output == Verdict(resolved=True)
    wanted = [request.form.response_format for request in dialects.asked]
    assert [each["type"] for each in wanted] == ["json_schema"] * 3
    assert all(each["json_schema"]["schema"]["required"] == ["resolved"] for each in wanted)


def test_log_probabilities_reach_the_client(dialects, openai_client):
    tokens = (AnswerToken(text="So", logprob=-0.5), AnswerToken(text=".", logprob=-0.25))
    told = Message(role="assistant", content="So.")
    dialects.answers = [answer("nothing", message=told, tokens=tokens) for _ in range(3)]
    asked = {"model": "student", "messages": [{"role": "user", "content": "a"}], "logprobs": True}
    whole = openai_client.chat.completions.create(**asked)
    with openai_client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    for completion in (whole, streamed):
        assert [(each.token, each.logprob) for each in completion.choices[0].logprobs.content] == [
            ("So", -0.5),
            (".", -0.25),
        ]
    response = openai_client.responses.create(
        model="student", input="a", include=["message.output_text.logprobs"]
    )
    assert [each.logprob for each in response.output[0].content[0].logprobs] == [-0.5, -0.25]


def test_a_function_of_an_earlier_day_reaches_the_client(dialects, openai_client):
    dialects.answers = [answer("a call"), answer("a call"), answer("nothing")]
    said = [{"role": "user", "content": "a"}]
    asked = {"model": "student", "messages": said, "functions": [{"name": "run", "parameters": SCHEMA}]}
    message = openai_client.chat.completions.create(**asked).choices[0].message
    chunks = list(openai_client.chat.completions.create(**asked, stream=True))
    deltas = [
        chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call
    ]
    assert "".join(delta.arguments or "" for delta in deltas) == message.function_call.arguments
    assert chunks[-1].choices[0].finish_reason == "function_call"
    result = {"role": "function", "name": "run", "content": "ok"}
    openai_client.chat.completions.create(**{**asked, "messages": [*said, message, result]})
    call = ToolCall(id="", name="run", arguments=CALLS[0].arguments)
    assert dialects.asked[-1].messages[1] == Message(role="assistant", content="", tool_calls=(call,))


def test_a_tool_that_takes_a_text_reaches_the_client(dialects, openai_client):
    call = ToolCall(id="call_1a", name="patch", arguments={"input": "*** Begin\n*** End"})
    told = Message(role="assistant", content="", tool_calls=(call,))
    dialects.answers = [answer("nothing", message=told, finish="tool_calls") for _ in range(3)]
    tools = [{"type": "custom", "name": "patch"}]
    said = [{"role": "user", "content": "a"}]
    with openai_client.responses.stream(model="student", input=said, tools=tools) as stream:
        response = stream.get_final_response()
    assert response.output[0].input == "*** Begin\n*** End"
    output = {"type": "custom_tool_call_output", "call_id": "call_1a", "output": "ok"}
    openai_client.responses.create(model="student", input=[*said, *response.output, output], tools=tools)
    assert dialects.asked[-1].messages[1:] == (
        told,
        Message(role="tool", content="ok", tool_call_id="call_1a"),
    )
    tools = [{"type": "custom", "custom": {"name": "patch"}}]
    completion = openai_client.chat.completions.create(model="student", messages=said, tools=tools)
    assert completion.choices[0].message.tool_calls[0].custom.input == "*** Begin\n*** End"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_refusal_is_the_client_s_own_error_and_names_the_parameter(
    dialects, openai_client, anthropic_client, is_streamed
):
    said = [{"role": "user", "content": "a"}]
    with pytest.raises(openai.BadRequestError, match="n: 2: one request has one answer") as caught:
        openai_client.chat.completions.create(model="student", messages=said, n=2, stream=is_streamed)
    assert (caught.value.param, caught.value.type) == ("n", "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="background: true") as caught:
        openai_client.responses.create(model="student", input="a", background=True, stream=is_streamed)
    assert caught.value.param == "background"
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\]\.type: 'bash_20250124'"):
        anthropic_client.messages.create(
            model="student",
            messages=said,
            max_tokens=9,
            tools=[{"type": "bash_20250124", "name": "bash"}],
            stream=is_streamed,
        )


def ask_each(openai_client, anthropic_client, **more):
    said = [{"role": "user", "content": "a"}]
    yield openai, lambda: openai_client.chat.completions.create(model="student", messages=said, **more)
    yield openai, lambda: openai_client.responses.create(model="student", input="a", **more)
    yield (
        anthropic,
        lambda: anthropic_client.messages.create(model="student", messages=said, max_tokens=9, **more),
    )


def test_a_client_asks_again_where_a_model_could_not_be_asked_and_not_where_all_is_over(
    dialects, openai_client, anthropic_client
):
    patient = openai_client.with_options(max_retries=1), anthropic_client.with_options(max_retries=1)
    for number, (vendor, ask) in enumerate(ask_each(*patient)):
        if number == 0:  # each waits for a second
            dialects.answers = [RequestError("unavailable", "ask again"), answer("nothing")]
            ask()
            assert dialects.answers == []
        dialects.answers = [RequestError("conflict", "the session is over"), answer("nothing")]
        with pytest.raises(vendor.ConflictError, match="the session is over"):
            ask()
        assert len(dialects.answers) == 1


def test_an_error_in_the_middle_of_a_stream_is_raised_by_each_client(
    dialects, openai_client, anthropic_client
):
    dialects.fails_late = True
    for vendor, ask in ask_each(openai_client, anthropic_client, stream=True):
        dialects.answers = [RequestError("unavailable", "ask again")]
        with pytest.raises(vendor.APIError, match="ask again"):
            list(ask())


def test_each_client_lists_the_models(openai_client, anthropic_client):
    assert [model.id for model in openai_client.models.list()] == ["student"]
    assert [model.id for model in anthropic_client.models.list()] == ["student"]
    assert openai_client.models.retrieve("student").created == 1_700_000_000
    assert anthropic_client.models.retrieve("student").created_at.year == 2023


def test_a_stream_of_messages_tells_its_input_as_it_comes(dialects, anthropic_client):
    dialects.answers = [answer("a call")]
    said = [{"role": "user", "content": "a"}]
    with anthropic_client.messages.stream(model="student", messages=said, max_tokens=9) as stream:
        parts = [event.partial_json for event in stream if event.type == "input_json"]
    assert json.loads("".join(parts)) == CALLS[0].arguments
