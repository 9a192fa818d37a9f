"""The endpoint policy against a real local server that fails in every way we know of."""

import asyncio
import json
import logging
import random
import subprocess
import sys
import time
import traceback
from dataclasses import replace

import pytest
from failing_endpoint import FailingEndpoint, Reply, completion, refusal

from turnmix.core.answer_form import AnswerForm
from turnmix.core.errors import TeacherError, UserError
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.policies.endpoint.check import check_endpoint
from turnmix.policies.endpoint.policy import EndpointPolicy, EndpointSettings
from turnmix.policies.endpoint.wire import request_seed
from turnmix.policies.policy import Episode
from turnmix.policies.server.process import free_port
from turnmix.rendering.arguments import MAX_DEPTH

KEY = "sk-very-secret-key"
SECONDS = 120
"""In which this machine has answered, whatever else it has to do."""
TOOL = ToolSpecification(name="finish", description="End.", parameters={"type": "object", "properties": {}})
STATE = State(messages=(Message(role="user", content="fix it"),), tools=(TOOL,))
GOOD = completion("Done.", [("finish", '{"message": "done"}')])


def later(turns):
    """A state with `turns` calls behind it, by policies that number their calls alike."""
    messages = list(STATE.messages)
    for _ in range(turns):
        call = ToolCall(id="call_0", name="think", arguments={"thought": "hm"})
        messages.append(Message(role="assistant", content="", tool_calls=(call,)))
        messages.append(Message(role="tool", content="ok", tool_call_id="call_0"))
    return State(messages=tuple(messages), tools=(TOOL,))


def policy_for(url, **changes):
    clock, sleep = changes.pop("clock", time.time), changes.pop("sleep", asyncio.sleep)
    given = {
        "model": "coder",
        "backoff_seconds": 0.01,
        "max_backoff_seconds": 0.02,
        "timeout_seconds": SECONDS,
    }
    settings = EndpointSettings(endpoint=url, **{**given, **changes})
    return EndpointPolicy(settings, generator=random.Random(0), clock=clock, sleep=sleep)


def episode(seed=0):
    task = Task(id="a", problem_statement="")
    return Episode(trajectory_id="t", task=task, seed=seed)


def ask(script, *, state=STATE, times=1, **changes):
    """Ask a fresh policy; what came of it, the policy and the server."""
    replies = script if callable(script) else lambda number, _: script[min(number, len(script) - 1)]

    async def run():
        async with FailingEndpoint(replies) as server:
            policy = policy_for(server.url, **changes)
            try:
                for _ in range(times):
                    outcome = await policy.begin(episode()).act(state)
            except (TeacherError, UserError) as error:
                outcome = error
            await policy.close()
            return outcome, policy, server

    return asyncio.run(run())


FORM = AnswerForm(
    tool_choice={"type": "function", "function": {"name": "finish"}},
    parallel_tool_calls=False,
    response_format={"type": "json_object"},
    stop=("a", "b", "c", "d", "Observation:"),
    others={
        "chat_template_kwargs": {"x": 1},
        "model": "other",
        "api_key": "k",
        "models": ["other"],
        "stream": True,
    },
)


def test_an_endpoint_is_told_the_form_that_a_scaffold_wants_and_nothing_that_is_the_recipes_matter():
    _, _, server = ask([GOOD], state=replace(STATE, form=FORM), extra_body={"response_format": None})
    _, _, native = ask([GOOD])
    body = server.requests[0].body
    wanted = {
        "tool_choice": FORM.tool_choice,
        "parallel_tool_calls": False,
        "stop": ["a", "b", "c", "d"],
        "chat_template_kwargs": {"x": 1},
    }
    assert {name: value for name, value in body.items() if name not in native.requests[0].body} == wanted
    assert {name: body[name] for name in native.requests[0].body} == native.requests[0].body


def test_without_tools_an_endpoint_is_not_told_which_to_choose():
    _, _, server = ask([GOOD], state=replace(STATE, tools=(), form=FORM))
    body = server.requests[0].body
    assert body["response_format"] == {"type": "json_object"}
    assert not {"tool_choice", "parallel_tool_calls", "tools"} & body.keys()


def test_an_answer_ends_before_a_stop_text_also_where_the_endpoint_does_not_heed_it():
    refused = refusal(400, "Unsupported parameter: 'stop' is not supported with this model.")
    said = completion("look\nObservation: 1", [("finish", "{}")])
    form = AnswerForm(stop=("Observation:",))
    action, _, server = ask([refused, said], state=replace(STATE, form=form))
    assert ["stop" in request.body for request in server.requests] == [True, False]
    assert action.message == Message(role="assistant", content="look\n")
    assert (action.parse_error, action.stop_text) == (None, "Observation:")
    heeded, _, _ = ask([GOOD], state=replace(STATE, form=form))
    assert heeded.message.tool_calls


@pytest.mark.parametrize(
    ("told", "stop_text"),
    [
        ({"stop_reason": "b"}, "b"),
        ({"matched_stop": "b"}, "b"),
        ({"stop_reason": 7, "matched_stop": None}, None),
        ({"stop_reason": "of nobody's"}, None),
        ({}, None),
    ],
)
def test_an_answer_knows_which_stop_text_ended_it_where_the_server_says_it(told, stop_text):
    body = json.loads(completion("look").body)
    body["choices"][0].update(told)
    said = Reply(body=json.dumps(body).encode())
    action, _, _ = ask([said], state=replace(STATE, form=AnswerForm(stop=("a", "b"))))
    assert (action.message.content, action.stop_text) == ("look", stop_text)
    assert Action.from_json(action.to_json()) == action


TRANSIENT = {
    "429": refusal(429, "slow down", Retry_After="0.02"),
    "500": refusal(500, "boom"),
    "503": refusal(503, "loading"),
    "timeout": Reply(delay=300),
    "connection_lost": Reply(body=b'{"choices": [{"message": {"content": "half', cut_after=20),
    "invalid_json": Reply(body=b"<html>oops</html>"),
    "empty_choices": Reply(body=b'{"choices": []}'),
    "malformed_answer": Reply(body=b'{"choices": [{"text": "not a chat"}]}'),
    "aborted": completion("half", finish_reason="abort"),
}


def patience(cause):
    return 0.4 if cause == "timeout" else SECONDS


@pytest.mark.parametrize("cause", TRANSIENT)
def test_what_passes_is_tried_again_and_counted_by_its_cause(cause):
    action, policy, _ = ask([TRANSIENT[cause], GOOD], timeout_seconds=patience(cause))
    assert action.message.tool_calls[0].arguments == {"message": "done"}
    retries = policy.counters.retries[cause]
    assert retries == 1 or cause == "timeout"  # this machine may be late too
    assert policy.counters.retries == {cause: retries}
    assert (policy.counters.requests, policy.counters.answers) == (retries + 1, 1)


@pytest.mark.parametrize("cause", [cause for cause in TRANSIENT if cause != "429"])
def test_what_lasts_is_an_infrastructure_error_after_bounded_attempts(cause):
    error, policy, server = ask([TRANSIENT[cause]], max_attempts=2, timeout_seconds=patience(cause))
    assert isinstance(error, TeacherError)
    assert policy.counters.requests == 2
    assert len(server.requests) == 2 or cause == "timeout"  # one may not have been sent in time
    assert policy.counters.failures == 1
    for named in ("teacher 'coder'", server.url, "2 attempts"):
        assert named in str(error)


def test_a_server_that_is_not_there_is_an_infrastructure_error():
    policy = policy_for(f"http://127.0.0.1:{free_port(None)}/v1", max_attempts=3)
    with pytest.raises(TeacherError, match="cannot connect"):
        asyncio.run(policy.begin(episode()).act(STATE))
    assert policy.counters.retries == {"connect": 2}


def test_a_server_that_trickles_bytes_for_ever_is_timed_out():
    async def trickle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async def run():
        server = await asyncio.start_server(trickle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        policy = policy_for(f"http://127.0.0.1:{port}/v1", max_attempts=1, timeout_seconds=0.4)
        try:
            with pytest.raises(TeacherError, match=r"no whole answer within 0\.4 s"):
                await asyncio.wait_for(policy.begin(episode()).act(STATE), SECONDS)
        finally:
            await policy.close()
            server.close()

    asyncio.run(run())


def test_a_call_to_an_unknown_tool_is_passed_on_for_the_scaffold_to_answer():
    action, _, _ = ask([completion(calls=[("browse", '{"url": "x"}')])])
    assert action.message.tool_calls[0].name == "browse"
    assert action.parse_error is None


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ('{"message": "do', "not valid JSON"),
        ("[1, 2]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ('{"number": NaN}', "not valid JSON"),
        ('{"number": 1e999}', "not valid JSON"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ('{"number": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"list": ' + "[" * 600 + "]" * 600 + "}", "nested deeper than 32 levels"),
        ('{"list": ' + "[" * 950 + "]" * 950 + "}", "nested deeper than 32 levels"),
    ],
)
def test_arguments_that_are_no_json_object_are_data_with_the_raw_text_kept(raw, complaint):
    action, policy, _ = ask([completion("I will.", [("finish", raw)])])
    assert complaint in action.parse_error
    assert action.message.tool_calls == ()
    assert action.message.content.startswith("I will.\n")
    assert json.loads(action.message.content.split("\n")[1]) == {"name": "finish", "arguments": raw}
    assert policy.counters.retries == {}


def test_arguments_nest_as_deep_as_those_that_a_student_may_write():
    def nested(depth):
        return f'{{"list": {"[" * depth}{"]" * depth}}}'

    # The object of the call and the arguments in it are two of the 32 levels.
    deepest, _, _ = ask([completion(calls=[("finish", nested(MAX_DEPTH - 2))])])
    assert json.dumps(deepest.message.tool_calls[0].arguments) == nested(MAX_DEPTH - 2)
    deeper, _, _ = ask([completion(calls=[("finish", nested(MAX_DEPTH - 1))])])
    assert "nested deeper" in deeper.parse_error


@pytest.mark.parametrize("depth", [40, 300, 600])
def test_nested_arguments_that_a_server_sends_as_an_object_are_data_too(depth):
    arguments = {"list": json.loads("[" * depth + "]" * depth)}
    action, _, _ = ask([completion("I will.", [("finish", arguments)])])
    assert "nested deeper than 32 levels" in action.parse_error
    assert json.loads(action.message.content.split("\n")[1]) == {"name": "finish", "arguments": arguments}


@pytest.mark.parametrize("raw", ["", None, {}, " "])
def test_a_call_without_arguments_has_none(raw):
    action, _, _ = ask([completion(calls=[("finish", raw)])])
    if raw == " ":
        assert action.parse_error is not None
    else:
        assert action.message.tool_calls[0].arguments == {}


def test_calls_announced_but_missing_are_a_parse_error_not_a_finished_turn():
    action, _, _ = ask([completion("hm", finish_reason="tool_calls")])
    assert "announced tool calls" in action.parse_error
    assert action.message.content == "hm"


def test_a_call_cut_by_the_token_limit_says_so():
    cut, _, _ = ask([completion(calls=[("finish", '{"mess')], finish_reason="length")])
    assert "cut at the limit of new tokens" in cut.parse_error
    as_text, _, _ = ask([completion('<tool_call>{"na', finish_reason="length")])
    assert "cut at the limit of new tokens" in as_text.parse_error
    prose, _, _ = ask([completion("Let me look at the fi", finish_reason="length")])
    assert "cut at the limit of new tokens" in prose.parse_error  # half a sentence is taught to nobody
    whole, _, _ = ask([completion("Let me look.", [("finish", "{}")], finish_reason="length")])
    assert whole.parse_error is None


def test_content_may_be_null_or_parts_and_call_ids_missing_or_doubled():
    calls = [
        {"function": {"name": "finish", "arguments": "{}"}, "id": id} for id in (None, "x", "x", "call_0")
    ]
    action, _, _ = ask([completion(None, calls)])
    assert action.message.content == ""
    ids = [call.id for call in action.message.tool_calls]
    assert ids[1] == "x"
    assert len(set(ids)) == 4
    parts, _, _ = ask([completion([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])])
    assert parts.message.content == "ab"


def test_reasoning_is_left_out_of_the_action():
    body = json.loads(GOOD.body)
    body["choices"][0]["message"]["reasoning_content"] = "secret thoughts"
    action, _, _ = ask([Reply(body=json.dumps(body).encode())])
    assert action.message.content == "Done."


def test_lone_surrogates_are_replaced_so_that_the_trajectory_can_be_stored():
    action, _, _ = ask([completion("\ud800", [("finish", '{"message": "ok"}')])])
    json.dumps(action.to_json(), ensure_ascii=False).encode()
    assert action.message.content == "?"


def test_half_of_a_surrogate_pair_in_arguments_is_the_models_mistake_and_can_be_stored():
    action, _, _ = ask([completion("", [("finish", '{"message": "\\ud800"}')])])
    json.dumps(action.to_json(), ensure_ascii=False).encode()
    assert "surrogate" in action.parse_error


def test_tokens_are_counted_where_the_server_tells_them():
    action, policy, _ = ask([GOOD, completion("hm", usage=None)], times=2)
    assert (action.prompt_tokens, action.completion_tokens) == (None, None)
    assert (policy.counters.prompt_tokens, policy.counters.completion_tokens) == (10, 5)


def test_the_request_carries_messages_tools_sampling_and_a_seed():
    _, _, server = ask([GOOD], state=later(2), extra_body={"top_k": 20, "top_p": None})
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    body = request.body
    assert body["model"] == "coder"
    assert body["tools"] == [TOOL.to_json()]
    assert body["temperature"] == 0.7
    assert body["top_k"] == 20
    assert "top_p" not in body
    first, second = (message for message in body["messages"] if message["role"] == "assistant")
    assert first["tool_calls"][0]["function"] == {"name": "think", "arguments": '{"thought": "hm"}'}
    answers = [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]
    assert answers == [first["tool_calls"][0]["id"], second["tool_calls"][0]["id"]]
    assert len(set(answers)) == 2


def test_a_state_without_tools_sends_no_empty_list_which_some_servers_refuse():
    _, _, server = ask([GOOD], state=State(messages=STATE.messages, tools=()))
    assert "tools" not in server.requests[0].body


def test_the_seed_depends_on_episode_and_turn_and_is_the_same_on_a_retry():
    def seeds(script, **changes):
        return [request.body["seed"] for request in ask(script, **changes)[2].requests]

    first, again = seeds([TRANSIENT["500"], GOOD])
    assert first == again
    assert seeds([GOOD], state=later(1)) != [first]
    assert all(0 <= seed < 2**31 for seed in (first, *seeds([GOOD], state=later(1))))


def test_a_teachers_draws_are_not_those_of_the_students_server():
    _, _, server = ask([GOOD])
    assert server.requests[0].body["seed"] != request_seed(episode().seed, STATE)


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (400, "teacher.extra_body"),
        (401, "TEACHER_KEY"),
        (402, "no credit"),
        (403, "TEACHER_KEY"),
        (404, "teacher.model 'coder'"),
        (422, "teacher.extra_body"),
        (451, "teacher.extra_body"),
        (301, "teacher.endpoint"),
    ],
)
def test_a_mistake_in_the_settings_is_told_at_once(status, named, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY)
    error, _, server = ask([refusal(status, f"no: {KEY}")], api_key_environment="TEACHER_KEY")
    assert isinstance(error, UserError)
    assert named in str(error)
    assert len(server.requests) == 1


def test_a_quota_that_is_used_up_is_not_waited_for():
    error, _, server = ask([refusal(429, "insufficient_quota")])
    assert isinstance(error, UserError)
    assert len(server.requests) == 1


def test_a_quota_that_lets_nothing_through_for_long_stops_the_run_and_no_trajectory_is_lost():
    clock = FakeClock()
    passing = {"clock": clock, "sleep": clock.sleep}
    error, policy, server = ask(
        [GOOD, refusal(429, "slow down")], times=2, max_throttled_seconds=0.1, **passing
    )
    assert isinstance(error, UserError)
    assert "teacher.max_throttled_seconds" in str(error)
    assert policy.counters.failures == 0
    assert len(server.requests) > 2


@pytest.mark.parametrize("status", [404, 405, 424, 498, 499, 302])
def test_a_refusal_that_is_no_conversations_after_answers_is_tried_again(status):
    action, _, server = ask([GOOD, refusal(status, "away"), GOOD], times=2)
    assert action.message.tool_calls
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 403, 422, 451])
def test_one_refused_conversation_after_answers_ends_that_trajectory_and_not_the_run(status):
    error, policy, _ = ask([GOOD, refusal(status, "content policy")], times=2)
    assert isinstance(error, TeacherError)
    assert "content policy" in str(error)
    assert policy.counters.retries == {}


def test_a_key_that_is_refused_after_answers_is_still_the_users():
    error, _, _ = ask([GOOD, refusal(401, "revoked")], times=2)
    assert isinstance(error, UserError)


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens",
        "context_length_exceeded",
        "the request exceeds the available context size",
        "prompt is too long: 210000 tokens > 200000 maximum",
    ],
)
def test_a_conversation_too_long_for_the_model_is_data(said):
    action, policy, server = ask([refusal(400, said)], state=later(1))
    assert "context window" in action.parse_error
    assert action.message.tool_calls == ()
    assert policy.counters.context_exceeded == len(server.requests) == 1


def test_a_long_prompt_after_answers_is_data_too():
    action, policy, _ = ask([GOOD, refusal(400, "maximum context length is 4096 tokens")], times=2)
    assert "context window" in action.parse_error
    assert policy.counters.context_exceeded == 1


def test_a_bare_prompt_that_never_fitted_means_too_many_new_tokens():
    error, _, _ = ask([refusal(400, "maximum context length is 4096 tokens")])
    assert isinstance(error, UserError)
    assert "teacher.max_new_tokens 4096" in str(error)


def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog):
    monkeypatch.setenv("TEACHER_KEY", f"{KEY}\n")
    caplog.set_level(logging.DEBUG)
    shown = []
    for reply in (refusal(401, f"bad key {KEY}"), refusal(500, KEY), Reply(body=KEY.encode()), GOOD):
        outcome, policy, server = ask([reply], api_key_environment="TEACHER_KEY", max_attempts=1)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}".lower()
        shown += [repr(policy), repr(vars(policy)), repr(policy.settings), policy.settings.model_dump_json()]
        shown += [repr(outcome), repr(policy.client), repr(policy.counters)]
        if isinstance(outcome, Exception):
            shown += traceback.TracebackException.from_exception(outcome, capture_locals=True).format()
            assert outcome.__cause__ is None
            assert outcome.__context__ is None
    assert caplog.records
    assert KEY not in caplog.text + "".join(shown)


def test_a_key_that_cannot_be_one_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", f"{KEY}\nand more")
    with pytest.raises(UserError, match="TEACHER_KEY") as raised:
        policy_for("http://localhost/v1", api_key_environment="TEACHER_KEY")
    assert KEY not in str(raised.value)


def test_no_key_is_sent_where_none_is_set(monkeypatch):
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    _, _, server = ask([GOOD], api_key_environment="TEACHER_KEY")
    assert "authorization" not in server.requests[0].headers
    error, _, _ = ask([refusal(401, "who are you")], api_key_environment="TEACHER_KEY")
    assert "TEACHER_KEY (teacher.api_key_environment) is not set" in str(error)


def test_credentials_in_the_url_are_used_and_shown_nowhere(caplog):
    caplog.set_level(logging.DEBUG)

    async def run():
        async with FailingEndpoint(lambda number, _: [refusal(500, "x"), GOOD][number]) as server:
            policy = policy_for(server.url.replace("127", "me:hunter2@127", 1), max_attempts=1)
            with pytest.raises(TeacherError, match=r"http://\*\*\*@127") as raised:
                await policy.begin(episode()).act(STATE)
            await policy.begin(episode()).act(STATE)
            await policy.close()
            settings = policy.settings
            return server, str(raised.value) + repr(settings) + settings.model_dump_json() + caplog.text

    server, shown = asyncio.run(run())
    assert server.requests[0].headers["authorization"].startswith("basic ")
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("ftp://host/v1", "http://localhost:8000/v1"),
        ("http://me:hunter2@host/v1/chat/completions", r"http://\*\*\*@host/v1"),
        ("http://***@host/v1", "not stored"),
    ],
)
def test_an_endpoint_that_cannot_be_one_is_refused(url, said):
    with pytest.raises(ValueError, match=said) as raised:
        EndpointSettings(endpoint=url, model="m")
    assert "hunter2" not in str(raised.value)


class FakeClock:
    """Time that passes only in `sleep`."""

    def __init__(self):
        self.now = 1_000_000.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "9999"}, 60.0),
        # The clocks disagree; the server's own date counts: 30 s.
        ({"Date": "Wed, 21 Oct 2026 07:28:00 GMT", "Retry_After": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30.0),
        ({"Retry_After": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after_is_waited_for_up_to_its_cap_and_jitter_comes_on_top(headers, least):
    clock = FakeClock()

    async def run():
        async with FailingEndpoint(lambda n, _: GOOD if n else refusal(429, "slow", **headers)) as server:
            settings = EndpointSettings(endpoint=server.url, model="m", max_retry_after_seconds=60)
            policy = EndpointPolicy(settings, generator=random.Random(0), clock=clock, sleep=clock.sleep)
            await policy.begin(episode()).act(STATE)
            await policy.close()

    asyncio.run(run())
    (waited,) = clock.slept
    assert least <= waited <= least + 1.0  # one second is the whole backoff after a first attempt


def test_backoff_grows_up_to_its_limit():
    clock = FakeClock()

    async def run():
        async with FailingEndpoint(lambda *_: refusal(500, "boom")) as server:
            settings = EndpointSettings(
                endpoint=server.url, model="m", max_attempts=200, max_backoff_seconds=4
            )
            policy = EndpointPolicy(settings, generator=random.Random(0), clock=clock, sleep=clock.sleep)
            with pytest.raises(TeacherError, match="200 attempts"):
                await policy.begin(episode()).act(STATE)
            await policy.close()

    asyncio.run(run())
    assert len(clock.slept) == 199
    assert clock.slept[0] <= 1
    assert clock.slept[1] <= 2
    # 197 waits uniform on [0, 4]: the mean is 2, with a standard error of 4/sqrt(12·197) = 0.08.
    assert 1.6 < sum(clock.slept[2:]) / 197 < 2.4
    assert max(clock.slept) <= 4


def test_a_retry_after_holds_every_conversation_back():
    def script(number, _):
        return refusal(429, "slow", Retry_After="0.4") if number == 0 else GOOD

    async def run():
        async with FailingEndpoint(script) as server:
            throttled = asyncio.Event()

            async def sleep(seconds):
                throttled.set()
                await asyncio.sleep(seconds)

            policy = policy_for(server.url, sleep=sleep)
            first = asyncio.create_task(policy.begin(episode()).act(STATE))
            await throttled.wait()
            await asyncio.gather(first, *(policy.begin(episode()).act(STATE) for _ in range(5)))
            await policy.close()
            return [request.at for request in server.requests]

    first, *others = asyncio.run(run())
    assert len(others) == 6
    assert min(others) - first >= 0.39


def test_no_more_requests_are_under_way_than_allowed():
    async def run():
        async with FailingEndpoint(lambda *_: Reply(body=GOOD.body, delay=0.1)) as server:
            policy = policy_for(server.url, max_concurrency=3)
            await asyncio.gather(*(policy.begin(episode()).act(STATE) for _ in range(20)))
            await policy.close()
            return server

    server = asyncio.run(run())
    assert len(server.requests) == 20
    assert server.most_active == 3


def test_an_endpoint_too_slow_for_all_at_once_is_asked_by_fewer_until_all_are_answered():
    """Its answers take the longer the more it works on, those that nobody waits for any more among them."""
    servers = []

    def slow(*_):
        return Reply(body=GOOD.body, delay=0.04 * servers[0].num_active)

    async def run():
        async with FailingEndpoint(slow) as server:
            servers.append(server)
            policy = policy_for(server.url, max_concurrency=100, timeout_seconds=1, max_attempts=12)
            actions = await asyncio.gather(*(policy.begin(episode()).act(STATE) for _ in range(100)))
            await policy.close()
            return actions, policy.counters

    actions, counters = asyncio.run(run())
    assert [action.message.content for action in actions] == ["Done."] * 100
    assert counters.retries["timeout"] > 0
    assert counters.requests < 600


def test_a_conversation_that_backs_off_gives_its_slot_to_others():
    async def run():
        async with FailingEndpoint(lambda n, _: refusal(500, "boom") if n == 0 else GOOD) as server:
            asleep = asyncio.Event()
            wake = asyncio.Event()

            async def sleep(_):
                asleep.set()
                await wake.wait()

            policy = policy_for(server.url, max_concurrency=1, sleep=sleep)
            failing = asyncio.create_task(policy.begin(episode()).act(STATE))
            await asleep.wait()
            await asyncio.wait_for(policy.begin(episode()).act(STATE), SECONDS)
            wake.set()
            await failing
            await policy.close()

    asyncio.run(run())


def test_one_policy_serves_several_event_loops_one_after_the_other():
    policies, port = [], free_port(None)

    async def run():
        async with FailingEndpoint(lambda *_: GOOD, port=port) as server:
            policy = policies[0] if policies else policy_for(server.url)
            policies.append(policy)
            return await policy.begin(episode()).act(STATE)

    for _ in range(2):
        assert asyncio.run(run()).message.content == "Done."


def check(script, *, conversation=None, answer=0, **changes):
    async def run():
        async with FailingEndpoint(script) as server:
            policy = policy_for(server.url, max_attempts=1, **changes)
            findings = await check_endpoint(policy, needed_context=conversation, answer_tokens=answer)
            await policy.close()
            return {finding.subject: finding for finding in findings}

    return asyncio.run(run())


def serving(*models, answer=None):
    listing = Reply(body=json.dumps({"data": [{"id": model} for model in models]}).encode())
    called = completion(calls=[("report_ready", '{"message": "ready"}')])
    return lambda _, request: listing if request.path == "/v1/models" else answer or called


def test_a_ready_endpoint_passes_every_check():
    assert all(finding.passed for finding in check(serving("coder")).values())


def test_an_endpoint_needs_room_for_the_longest_conversation_and_its_answer():
    def finding(context):
        listing = Reply(body=json.dumps({"data": [{"id": "coder", "max_model_len": context}]}).encode())

        def script(number, request):
            return listing if request.path == "/v1/models" else serving("coder")(number, request)

        return check(script, conversation=65_536, answer=4096)["context"]

    assert finding(69_632).passed
    short = finding(65_536)
    assert short.passed is False
    assert "scaffold.max_tokens = 65,536 and teacher.max_new_tokens = 4,096" in short.detail
    assert "--max-model-len 69632, or set scaffold.max_tokens=61440" in short.detail


def test_a_model_that_is_not_served_is_found_with_the_nearest_name():
    finding = check(serving("codex", "coder-30b"), model="coder-3b")["model"]
    assert finding.passed is False
    assert "coder-30b" in finding.detail


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (completion("ready"), "tool-call parser"),
        (refusal(401, "no"), "OPENAI_API_KEY"),
        (refusal(400, "maximum context length is 100"), "teacher.max_new_tokens"),
        (refusal(500, "boom"), "HTTP 500"),
        (Reply(delay=300), "no whole answer"),
    ],
)
def test_a_tool_call_that_does_not_work_is_found(answer, said):
    finding = check(serving("coder", answer=answer), timeout_seconds=2 if answer.delay else SECONDS)[
        "tool_call"
    ]
    assert finding.passed is False
    assert said in finding.detail


def test_a_server_without_a_list_of_models_is_not_blamed():
    def script(_, request):
        return refusal(404, "no") if request.path == "/v1/models" else serving("x")(0, request)

    findings = check(script)
    assert findings["model"].passed is None
    assert findings["tool_call"].passed


def test_an_unreachable_endpoint_is_one_finding():
    findings = asyncio.run(check_endpoint(policy_for("http://127.0.0.1:9/v1", max_attempts=1)))
    assert [finding.subject for finding in findings] == ["reachable"]
    assert findings[0].passed is False


@pytest.mark.parametrize("module", ["turnmix", "turnmix.core.trajectory", "turnmix.policies.endpoint.policy"])
def test_importing_loads_neither_httpx_nor_torch(module):
    code = f"import sys, {module}; print(sorted({{'httpx', 'torch'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
