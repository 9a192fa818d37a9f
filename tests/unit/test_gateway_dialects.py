"""What each dialect reads, how it refuses what it does not do, and what it writes, held against the vendors' models."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import ModelInfo, RawMessageStreamEvent
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaMessagesParams
from anthropic.types.message_create_params import MessageCreateParamsBase as MessagesParams
from anthropic.types.shared import ErrorResponse
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatParams
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsBase as ResponsesParams
from openai.types.shared.error_object import ErrorObject

from turnmix.core.json_text import json_value
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.opening import Opening
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.gateway.dialects import DIALECTS, chat_request, messages_request, responses_request
from turnmix.gateway.dialects.models import models_body
from turnmix.gateway.model_request import AnswerToken, ModelAnswer, ModelRequest, RequestError
from vendor_bodies import asserted, sent

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/messages"
PATHS = [CHAT, RESPONSES, MESSAGES]
SHELL = ToolSpecification(
    name="run",
    description="Runs a command.",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)
HISTORY = (
    Message(role="system", content="You mend."),
    Message(role="user", content="Mend it."),
    Message(
        role="assistant",
        content="I look.",
        tool_calls=(
            ToolCall(id="call_a", name="run", arguments={"command": "ls -l"}),
            ToolCall(id="call_b", name="run", arguments={}),
        ),
    ),
    Message(role="tool", content="a.py", tool_call_id="call_a"),
    Message(role="tool", content="", tool_call_id="call_b"),
)
REQUEST = ModelRequest(model="student", messages=HISTORY, tools=(SHELL,))


def user(content):
    return {"role": "user", "content": content}


def body(path, *said, **more):
    asked = list(said) or [user("Mend it.")]
    tools = {
        CHAT: [SHELL.to_json()],
        RESPONSES: [{"type": "function", **SHELL.to_json()["function"]}],
        MESSAGES: [{"name": "run", "description": SHELL.description, "input_schema": SHELL.parameters}],
    }[path]
    name = "input" if path == RESPONSES else "messages"
    return {"model": "student", name: asked, "tools": tools, **more}


def read(path, *said, **more):
    return DIALECTS[path].read(body(path, *said, **more))[0]


def refusal(path, *said, **more):
    with pytest.raises(RequestError) as caught:
        read(path, *said, **more)
    assert caught.value.parameter is not None
    return str(caught.value)


def answer(content="", *calls, finish=None, tokens=None):
    return ModelAnswer(
        id="answer_7f_3",
        model="student",
        created=1_700_000_000,
        message=Message(role="assistant", content=content, tool_calls=calls),
        finish=finish or ("tool_calls" if calls else "stop"),
        prompt_tokens=20,
        completion_tokens=5,
        cached_tokens=8,
        tokens=tokens,
    )


LOOK = ToolCall(id="call_a", name="run", arguments={"command": "ls Ü"})
REST = ToolCall(id="call_b", name="run", arguments={})
ANSWERS = {
    "text": answer("I am done. " * 20),
    "nothing": answer(),
    "a call": answer("", LOOK),
    "text and calls": answer("Zwei.", LOOK, REST),
    "cut": answer("I was", finish="length"),
    "tokens": answer(
        "Hi Ü", tokens=(AnswerToken(text="Hi", logprob=-0.5), AnswerToken(text=" Ü", logprob=-1.0))
    ),
    "other tokens": answer("", LOOK, tokens=(AnswerToken(text="<call>", logprob=-0.5),)),
}


def events(path, given, asked):
    text = b"".join(DIALECTS[path].events(given, asked)).decode()
    assert text.endswith("\n\n")
    for block in text.removesuffix("\n\n").split("\n\n"):
        *name, data = block.split("\n")
        data = data.removeprefix("data: ")
        if data != "[DONE]":
            data = json.loads(data)
            assert name in ([], [f"event: {data.get('type')}"])
        yield data


# What is read.


@pytest.mark.parametrize("path", PATHS)
def test_one_history_is_the_same_in_each_dialect(path):
    assert DIALECTS[path].read(sent(REQUEST, path)) == (
        ModelRequest(
            model="student",
            messages=HISTORY,
            tools=(SHELL,),
            sampling={"max_tokens": 100} if path == MESSAGES else None,
        ),
        False,
    )
    assert DIALECTS[path].read(sent(REQUEST, path, stream=True))[1]


def test_a_content_in_parts_is_one_text_and_thoughts_are_no_part_of_it():
    parts = [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "", "cache_control": {"type": "ephemeral"}},
    ]
    parts.append({"type": "text", "text": "Two."})
    assert read(CHAT, user(parts)).messages[-1].content == "One.\nTwo."
    assert read(MESSAGES, user(parts)).messages[-1].content == "One.\nTwo."
    inputs = [{"type": "input_text", "text": "One."}, {"type": "input_text", "text": "Two."}]
    assert read(RESPONSES, user(inputs)).messages[-1].content == "One.\nTwo."
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    said = {"role": "assistant", "content": [thinking, {"type": "text", "text": "So."}]}
    assert read(MESSAGES, said, user("Go on.")).messages[0] == Message(role="assistant", content="So.")
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]}
    assert read(RESPONSES, user("a"), thought, said).messages[1].content == "So."
    said = {
        "role": "assistant",
        "content": "So.",
        "reasoning_content": "Hm.",
        "thinking_blocks": [],
        "annotations": [],
    }
    assert read(CHAT, user("a"), said).messages[1] == Message(role="assistant", content="So.")
    assert read(CHAT, {"role": "assistant", "content": None, "refusal": "No."}).messages[0].content == "No."


def test_what_speaks_for_the_developer_is_a_system_message():
    told = [{"role": "developer", "content": "Be brief."}, user("Hi.")]
    assert [message.role for message in read(CHAT, *told).messages] == ["system", "user"]
    assert [message.role for message in read(RESPONSES, *told, instructions="Mend.").messages] == [
        "system",
        "system",
        "user",
    ]
    blocks = [
        {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
        for text in ("You are", "kind.")
    ]
    assert read(MESSAGES, system=blocks).messages[0] == Message(role="system", content="You are\nkind.")
    assert (
        read(MESSAGES, user("a"), {"role": "system", "content": "b"}, user("c")).messages[1].role == "system"
    )


def test_what_claude_code_tells_its_vendor_s_accounts_is_no_part_of_the_state():
    blocks = [{"type": "text", "text": f"x-anthropic-billing-header: cch={n};"} for n in (1, 2)]
    states = [read(MESSAGES, system=[block, {"type": "text", "text": "Mend."}]).messages for block in blocks]
    assert (
        states[0]
        == states[1]
        == (Message(role="system", content="Mend."), Message(role="user", content="Mend it."))
    )


def test_results_that_lie_in_one_message_are_one_message_each():
    results = [
        {"type": "tool_result", "tool_use_id": "call_a", "content": [{"type": "text", "text": "a.py"}]},
        {"type": "tool_result", "tool_use_id": "call_b", "is_error": True},
        {"type": "tool_result", "tool_use_id": "call_c", "is_error": True, "content": "No such file."},
        {"type": "text", "text": "Go on."},
    ]
    assert read(MESSAGES, user(results)).messages == (
        Message(role="tool", content="a.py", tool_call_id="call_a"),
        Message(role="tool", content="Error", tool_call_id="call_b"),
        Message(role="tool", content="No such file.", tool_call_id="call_c"),
        Message(role="user", content="Go on."),
    )


def test_items_of_one_answer_are_one_message_also_where_results_stand_between_them():
    written = DIALECTS[RESPONSES].write(answer("Two.", LOOK, REST), body(RESPONSES))["output"]
    outputs = [
        {"type": "function_call_output", "call_id": call, "output": [{"type": "input_text", "text": "ok"}]}
        for call in ("call_a", "call_b")
    ]
    told = Message(role="assistant", content="Two.", tool_calls=(LOOK, REST))
    results = tuple(Message(role="tool", content="ok", tool_call_id=call) for call in ("call_a", "call_b"))
    assert read(RESPONSES, user("a"), *written, *outputs).messages[1:] == (told, *results)
    assert read(RESPONSES, user("a"), *written[:2], outputs[0], written[2], outputs[1]).messages[1:] == (
        told,
        *results,
    )
    bare = [{name: value for name, value in item.items() if name != "id"} for item in written]
    assert read(RESPONSES, user("a"), *bare, *outputs).messages[1:] == (told, *results)
    again = {"type": "message", "role": "assistant", "content": "Three."}
    assert [message.content for message in read(RESPONSES, user("a"), again, again).messages[1:]] == [
        "Three."
    ] * 2


@pytest.mark.parametrize(
    "sent_arguments",
    ['{"command": "ls"', "[1]", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": ' * 40 + "1" + "}" * 40],
    ids=["cut", "list", "twice", "NaN", "deep"],
)
def test_arguments_that_no_call_can_have_are_kept_as_text_and_the_result_is_the_user_s(sent_arguments):
    text = "Look.\n" + json.dumps({"name": "run", "arguments": sent_arguments}, separators=(",", ":"))
    expected = (
        Message(
            role="assistant", content=text, tool_calls=(ToolCall(id="call_b", name="run", arguments={}),)
        ),
        Message(role="user", content="That was no JSON."),
        Message(role="tool", content="ok", tool_call_id="call_b"),
    )
    calls = [
        {"id": "call_a", "type": "function", "function": {"name": "run", "arguments": sent_arguments}},
        {"id": "call_b", "type": "function", "function": {"name": "run", "arguments": ""}},
    ]
    said = {"role": "assistant", "content": "Look.", "tool_calls": calls}
    results = [
        {"role": "tool", "tool_call_id": "call_a", "content": "That was no JSON."},
        {"role": "tool", "tool_call_id": "call_b", "content": "ok"},
    ]
    assert read(CHAT, said, *results).messages == expected
    items = [{"type": "function_call", "call_id": call["id"], **call["function"]} for call in calls]
    outputs = [
        {"type": "function_call_output", "call_id": each["tool_call_id"], "output": each["content"]}
        for each in results
    ]
    said = {"role": "assistant", "content": "Look."}
    assert (
        read(RESPONSES, said, *[{**item, "type": "function_call"} for item in items], *outputs).messages
        == expected
    )
    again = sent(ModelRequest(model="student", messages=expected), CHAT)
    assert DIALECTS[CHAT].read(again)[0].messages == expected


def test_an_input_that_nests_too_deep_for_a_call_is_kept_as_text():
    deep = {"a": {}}
    for _ in range(40):
        deep = {"a": deep}
    said = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "call_a", "name": "run", "input": deep}],
    }
    result = user([{"type": "tool_result", "tool_use_id": "call_a", "content": "Too deep."}])
    messages = read(MESSAGES, said, result).messages
    assert json.loads(messages[0].content) == {"name": "run", "arguments": deep}
    assert messages[1] == Message(role="user", content="Too deep.")


@pytest.mark.parametrize(
    "named",
    [
        lambda deep: {"tools": [{**SHELL.to_json(), "function": {"name": "run", "parameters": deep}}]},
        lambda deep: {
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": deep}}
        },
        lambda deep: {"chat_template_kwargs": deep},
    ],
    ids=["tools", "response_format", "chat_template_kwargs"],
)
def test_what_is_read_can_be_read_again_in_a_trajectory_however_deep_it_nests(named):
    deep, num_read, refused = {}, 0, ""
    for _ in range(90):
        deep = {"a": deep}
        try:
            request = read(CHAT, user("x"), **named(deep))
        except RequestError as error:
            refused = str(error)
            continue
        num_read += 1
        opening = Opening(after=None, messages=request.messages, tools=request.tools)
        action = Action(message=Message(role="assistant", content="y"))
        turn = Turn(
            actor="student", action=action, label=None, observation=(), opening=opening, form=request.form
        )
        written = Trajectory(
            id="a", task_id="a", iteration=0, seed=0, beta=None, tools=(), prompt=(), turns=(turn,),
            stop_reason=StopReason.finished, verdict=None,
        ).to_json()  # fmt: skip
        assert json_value(json.dumps(written)) == written
    assert 60 <= num_read <= 64
    assert "nest at most 64 levels deep" in refused


@pytest.mark.parametrize("path", PATHS)
def test_half_a_surrogate_pair_is_replaced_wherever_it_stands(path):
    asked = sent(REQUEST, path)
    text = (
        json.dumps(asked)
        .replace("a.py", r"\ud800.py")
        .replace("Mend it.", r"\udc00")
        .replace("ls -l", r"\ud800")
    )
    messages = DIALECTS[path].read(json.loads(text))[0].messages
    assert messages[1].content == "\ufffd"
    assert messages[2].tool_calls[0].arguments == {"command": "\ufffd"}
    assert messages[3].content == "\ufffd.py"


def test_functions_of_an_earlier_day_are_tools():
    said = [
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "run", "arguments": '{"command": "ls"}'},
        },
        {"role": "function", "name": "run", "content": "a.py"},
    ]
    asked = {"model": "student", "messages": [user("a"), *said], "functions": [SHELL.to_json()["function"]]}
    request, _ = DIALECTS[CHAT].read({**asked, "function_call": {"name": "run"}})
    call = ToolCall(id="", name="run", arguments={"command": "ls"})
    assert request.messages[1:] == (
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="a.py", tool_call_id=""),
    )
    assert request.tools == (SHELL,)
    assert request.form.tool_choice == {"type": "function", "function": {"name": "run"}}
    assert request.form.parallel_tool_calls is False
    choice = DIALECTS[CHAT].write(answer("", LOOK), asked)["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "run", "arguments": '{"command": "ls Ü"}'}
    assert "tool_calls" not in choice["message"]
    assert (
        len(DIALECTS[CHAT].write(answer("", LOOK, REST), asked)["choices"][0]["message"]["tool_calls"]) == 2
    )


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_a_tool_that_takes_a_text_is_a_function_with_one_argument(path):
    grammar = {"syntax": "lark", "definition": "start: WORD"}
    custom = {"name": "patch", "description": "Patches."}
    if path == CHAT:
        tool = {"type": "custom", "custom": {**custom, "format": {"type": "grammar", "grammar": grammar}}}
        choice = {"type": "custom", "custom": {"name": "patch"}}
    else:
        tool = {"type": "custom", **custom, "format": {"type": "grammar", **grammar}}
        choice = {"type": "custom", "name": "patch"}
    asked = body(path, user("a"), tools=[tool], tool_choice=choice)
    request, _ = DIALECTS[path].read(asked)
    assert request.tools[0].description == "Patches.\n\nThe input follows this lark grammar:\nstart: WORD"
    assert request.tools[0].parameters["required"] == ["input"]
    assert request.form.tool_choice == {"type": "function", "function": {"name": "patch"}}
    call = ToolCall(id="call_a", name="patch", arguments={"input": "*** Begin\n"})
    written = DIALECTS[path].write(answer("", call), asked)
    said = written["output"] if path == RESPONSES else [written["choices"][0]["message"]]
    assert read(path, user("a"), *said).messages[1].tool_calls == (call,)
    asserted(Response if path == RESPONSES else ChatCompletion, written)
    for data in events(path, answer("", call), asked):
        asserted(
            ResponseStreamEvent if path == RESPONSES else ChatCompletionChunk, data
        ) if path == RESPONSES else None


# What is wanted of the answer.


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (
            CHAT,
            {"tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "text"}, "n": 1},
        ),
        (
            RESPONSES,
            {"tool_choice": "auto", "parallel_tool_calls": True, "text": {"format": {"type": "text"}}},
        ),
        (
            MESSAGES,
            {"tool_choice": {"type": "auto"}, "thinking": None, "output_config": {}, "stop_sequences": []},
        ),
    ],
)
def test_what_says_the_default_is_what_says_nothing(path, more):
    assert read(path, **more) == read(path)


@pytest.mark.parametrize(
    ("path", "none", "required", "named"),
    [
        (CHAT, "none", "required", {"type": "function", "function": {"name": "run"}}),
        (RESPONSES, "none", "required", {"type": "function", "name": "run"}),
        (MESSAGES, {"type": "none"}, {"type": "any"}, {"type": "tool", "name": "run"}),
    ],
)
def test_the_choice_of_a_tool_is_read_in_each_form(path, none, required, named):
    assert read(path, tool_choice=none).tools == ()
    assert read(path, tool_choice=none).form.tool_choice is None
    assert read(path, tool_choice=required).form.tool_choice == "required"
    assert read(path, tool_choice=named).form.tool_choice == {"type": "function", "function": {"name": "run"}}
    assert refusal(path, tools=[], tool_choice=required).startswith(
        "tool_choice: 'required': there are no tools"
    )
    assert "no tool has this name" in refusal(path, tools=[], tool_choice=named)


def test_tools_that_are_not_allowed_are_not_offered():
    second = {"type": "function", "function": {"name": "see"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "see"}}]}
    request = read(
        CHAT, tools=[SHELL.to_json(), second], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
    )
    assert [tool.name for tool in request.tools] == ["see"]
    assert request.form.tool_choice == "required"
    assert request.tools[0].parameters == {"type": "object", "properties": {}}
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "run"}]}
    assert read(RESPONSES, tool_choice=allowed).tools == (SHELL,)


def test_form_and_sampling_have_the_same_names_in_each_dialect():
    schema = {"type": "object", "properties": {}}
    json_schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    requests = [
        read(
            CHAT,
            parallel_tool_calls=False,
            response_format=json_schema,
            max_completion_tokens=9,
            temperature=0,
            reasoning_effort="low",
        ),
        read(
            RESPONSES,
            parallel_tool_calls=False,
            text={"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}},
            max_output_tokens=9,
            temperature=0,
            reasoning={"effort": "low", "summary": "auto"},
        ),
        read(
            MESSAGES,
            tool_choice={"type": "auto", "disable_parallel_tool_use": True},
            output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
            max_tokens=9,
            temperature=0,
        ),
    ]
    assert requests[0] == requests[1] == requests[2]
    assert requests[0].form.response_format == json_schema
    assert requests[0].sampling == {"max_tokens": 9, "temperature": 0, "reasoning_effort": "low"}
    assert read(CHAT, stop="a").form.stop == read(MESSAGES, stop_sequences=["a"]).form.stop == ("a",)
    assert read(CHAT, response_format={"type": "json_object"}).form.response_format == {"type": "json_object"}


@pytest.mark.parametrize("path", PATHS)
def test_parameters_of_endpoints_are_handed_on_and_those_of_accounts_are_not(path):
    accounts = {"metadata": {"user_id": "x"}, "service_tier": "auto"}
    request = read(path, **accounts, chat_template_kwargs={"a": 1}, guided_choice=None)
    assert request.form.others == {"chat_template_kwargs": {"a": 1}}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "name", ["api_key", "api_base", "models", "provider", "extra_headers", "mock_response"]
)
def test_a_parameter_that_may_say_which_model_answers_or_by_whose_key_is_refused_by_name(path, name):
    assert refusal(path, **{name: "x"}).startswith(f"{name}: no model is told of it: leave it out")


def test_log_probabilities_are_of_the_sampled_token_alone():
    assert read(CHAT, logprobs=True, top_logprobs=0).wants_logprobs
    assert read(RESPONSES, include=["message.output_text.logprobs"]).wants_logprobs
    assert not read(RESPONSES, include=["reasoning.encrypted_content"]).wants_logprobs
    assert refusal(CHAT, logprobs=True, top_logprobs=5).startswith(
        "top_logprobs: 5: the log-probability of the samp"
    )


def test_a_response_may_go_on_from_the_one_before():
    request = read(RESPONSES, previous_response_id="resp_answer_7f_3")
    assert request.previous == DIALECTS[RESPONSES].write(answer(), body(RESPONSES))["id"].removeprefix(
        "resp_"
    )
    assert DIALECTS[RESPONSES].read({"model": "student", "previous_response_id": "resp_x"})[0].messages == ()


# What is refused.


@pytest.mark.parametrize(
    ("path", "said", "more", "told"),
    [
        (CHAT, (), {"n": 2}, "n: 2: one request has one answer"),
        (CHAT, (), {"n": True}, "n: true: "),
        (CHAT, (), {"prediction": {"type": "content", "content": "x"}}, "prediction: an object: "),
        (CHAT, (), {"modalities": ["text", "audio"]}, "modalities: a list: "),
        (CHAT, (), {"tools": [{"type": "web_search"}]},
         "tools[0].type: 'web_search': give one of 'function', 'custom'"),
        (CHAT, (), {"tools": [SHELL.to_json()] * 2}, "tools[1].function.name: 'run': two tools have this name"),
        (CHAT, (), {"temperature": "hot"}, "temperature: 'hot': give a number"),
        (CHAT, (), {"temperature": float("inf")}, "temperature: "),
        (CHAT, (), {"max_tokens": 0}, "max_tokens: 0: input should be greater than 0"),
        (CHAT, (), {"stream": "yes"}, "stream: 'yes': give true or false"),
        (CHAT, (), {"stop": [""]}, "stop: '': give texts that are not empty"),
        (CHAT, (), {"model": None}, "model: null: give a text"),
        (CHAT, (), {"response_format": {"type": "yaml"}}, "response_format.type: 'yaml': give one of 'text'"),
        (CHAT, (user([{"type": "image_url", "image_url": {"url": "x"}}]),), {},
         "messages[0].content[0].type: 'image_url': "),
        (CHAT, ({"role": "user"},), {}, "messages[0].content: missing: give it"),
        (CHAT, ({"content": "x"},), {}, "messages[0].role: missing: give it"),
        (CHAT, ({"role": "tool", "content": "x"},), {}, "messages[0].tool_call_id: missing: give it"),
        (CHAT, ({"role": "assistant", "tool_calls": [{"id": "a", "function": {}}]},), {},
         "messages[0].tool_calls[0].function.name: missing: give it"),
        (RESPONSES, (), {"background": True}, "background: true: an answer is waited for"),
        (RESPONSES, (), {"conversation": "conv_1"}, "conversation: 'conv_1': the gateway stores no conversations"),
        (RESPONSES, (), {"tools": [{"type": "web_search"}]},
         "tools[0].type: 'web_search': give one of 'function', 'custom'"),
        (RESPONSES, (), {"n": 2}, "n: 2: a parameter of chat completions: leave it out"),
        (MESSAGES, (), {"response_format": {"type": "text"}}, "response_format: an object: a parameter of chat"),
        (RESPONSES, (), {"input": []}, "input: missing: give a text or items"),
        (RESPONSES, ({"type": "item_reference", "id": "x"},), {}, "input[0].type: 'item_reference': give one of"),
        (RESPONSES, (user([{"type": "input_file", "file_id": "x"}]),), {},
         "input[0].content[0].type: 'input_file': "),
        (MESSAGES, (), {"mcp_servers": [{"type": "url"}]}, "mcp_servers: a list: nothing runs on the gateway's side"),
        (MESSAGES, (), {"tools": [{"type": "bash_20250124", "name": "bash"}]},
         "tools[0].type: 'bash_20250124': give 'custom'"),
        (MESSAGES, (), {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
         "context_management: an object: the gateway edits no history"),
        (MESSAGES, (user("a"), {"role": "assistant", "content": "It is ("}), {},
         "messages[1].role: 'assistant': the gateway does not go on"),
        (MESSAGES, (user([{"type": "image", "source": {}}]),), {},
         "messages[0].content[0].type: 'image': give one of 'text'"),
        (MESSAGES, (), {"tools": [{"name": "run", "input_schema": {"type": "string"}}]},
         "tools[0].input_schema.type: 'string'"),
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_with_the_parameter_its_value_and_the_fix(path, said, more, told):
    assert refusal(path, *said, **more).startswith(told)


def test_edits_of_thoughts_change_nothing_here():
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    assert read(MESSAGES, context_management=edits) == read(MESSAGES)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("fault", "status", "kinds"),
    [
        ("invalid_request", 400, ("invalid_request_error", "invalid_request_error")),
        ("unauthorized", 401, ("invalid_request_error", "authentication_error")),
        ("forbidden", 403, ("invalid_request_error", "permission_error")),
        ("not_found", 404, ("invalid_request_error", "not_found_error")),
        ("conflict", 409, ("invalid_request_error", "invalid_request_error")),
        ("too_large", 413, ("invalid_request_error", "request_too_large")),
        ("unavailable", 503, ("service_unavailable_error", "overloaded_error")),
        ("internal", 500, ("server_error", "api_error")),
    ],
)
def test_an_error_has_the_vendor_s_shape(path, fault, status, kinds):
    given_status, told, headers = DIALECTS[path].error(
        RequestError(fault, "n: 2: leave it out", parameter="n")
    )
    assert given_status == status
    assert told["error"]["message"] == "n: 2: leave it out"
    assert told["error"]["type"] == kinds[path == MESSAGES]
    if path == MESSAGES and fault != "too_large":
        asserted(ErrorResponse, told)
    elif path != MESSAGES:
        assert asserted(ErrorObject, told["error"]).param == "n"
    assert headers.get("x-should-retry") == {"unavailable": "true", "conflict": "false"}.get(fault)
    assert ("retry-after" in headers) == (fault == "unavailable")


@pytest.mark.parametrize(
    ("vendors", "parameters", "shape"),
    [
        (ChatParams, chat_request.PARAMETERS, chat_request.ChatBody),
        (ResponsesParams, responses_request.PARAMETERS, responses_request.ResponsesBody),
        (MessagesParams, messages_request.PARAMETERS, messages_request.MessagesBody),
        (BetaMessagesParams, messages_request.PARAMETERS, messages_request.MessagesBody),
    ],
)
def test_each_parameter_that_a_vendor_knows_is_read_refused_or_left_aside(vendors, parameters, shape):
    named = {name for kind in vendors.__mro__ for name in getattr(kind, "__annotations__", ())}
    assert len(named) > 15
    assert named - parameters.refused.keys() - parameters.ignored - shape.model_fields.keys() == set()
    assert named & parameters.foreign == set()
    assert set(parameters.noted) - {"effort", "text_verbosity"} <= shape.model_fields.keys()


def test_the_page_on_dialects_names_all_that_is_refused():
    page = (Path(__file__).parents[2] / "docs" / "gateway-dialects.md").read_text()
    for request in (chat_request, responses_request, messages_request):
        assert [name for name in request.PARAMETERS.refused if f"`{name}`" not in page] == []


# What is written.


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_the_vendor_s_shape(name):
    given = ANSWERS[name]
    finish = given.finish
    completion = asserted(ChatCompletion, DIALECTS[CHAT].write(given, body(CHAT)))
    assert completion.choices[0].finish_reason == finish
    assert completion.usage.total_tokens == 25
    asked = body(RESPONSES, instructions="Mend.", temperature=0.5, text={"verbosity": "low"}, store=False)
    response = asserted(Response, DIALECTS[RESPONSES].write(given, asked))
    assert response.status == ("incomplete" if finish == "length" else "completed")
    assert response.instructions == "Mend."
    assert response.usage.input_tokens_details.cached_tokens == 8
    message = asserted(AnthropicMessage, DIALECTS[MESSAGES].write(given, body(MESSAGES)))
    assert message.stop_sequence is None
    assert (
        message.stop_reason == {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}[finish]
    )
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens == 20


@pytest.mark.parametrize("name", ANSWERS)
def test_each_event_of_a_stream_has_the_vendor_s_shape(name):
    given = ANSWERS[name]
    asked = body(CHAT, stream=True, stream_options={"include_usage": True})
    chunks = list(events(CHAT, given, asked))
    assert chunks.pop() == "[DONE]"
    read_chunks = [asserted(ChatCompletionChunk, chunk) for chunk in chunks]
    assert read_chunks[-1].usage.total_tokens == 25
    assert read_chunks[-2].choices[0].finish_reason == given.finish
    told = list(events(RESPONSES, given, body(RESPONSES)))
    assert [data["sequence_number"] for data in told] == list(range(len(told)))
    for data in told:
        asserted(ResponseStreamEvent, data)
    for data in events(MESSAGES, given, body(MESSAGES)):
        asserted(RawMessageStreamEvent, data)


def test_an_anthropic_answer_that_ended_at_a_stop_sequence_tells_which_whole_and_streamed():
    ended = replace(answer("look "), stop_text="Observation:")
    whole = asserted(AnthropicMessage, DIALECTS[MESSAGES].write(ended, body(MESSAGES)))
    assert (whole.stop_reason, whole.stop_sequence) == ("stop_sequence", "Observation:")
    told = list(events(MESSAGES, ended, body(MESSAGES)))
    for data in told:
        asserted(RawMessageStreamEvent, data)
    assert told[0]["message"]["stop_sequence"] is None
    (delta,) = [data["delta"] for data in told if data["type"] == "message_delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "Observation:"}
    calls = DIALECTS[MESSAGES].write(replace(answer("", LOOK), stop_text="Observation:"), body(MESSAGES))
    assert (calls["stop_reason"], calls["stop_sequence"]) == ("tool_use", None)


def test_a_long_answer_comes_in_several_pieces_and_not_in_thousands():
    for path in PATHS:
        assert 3 < len(list(DIALECTS[path].events(answer("word " * 20), body(path)))) < 60
        assert len(list(DIALECTS[path].events(answer("word " * 100_000), body(path)))) < 60


def test_one_list_of_models_serves_both_vendors_clients():
    listed = models_body(["student", "other"], created=1_700_000_000)
    names = {"id", "object", "created", "owned_by"}
    for model in listed["data"]:
        asserted(Model, {name: model[name] for name in names})
        asserted(ModelInfo, {name: value for name, value in model.items() if name not in names - {"id"}})
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("student", "other", False)
