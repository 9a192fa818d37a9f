"""What vLLM is asked and how its answers are read, by a real HTTP server that answers as vLLM 0.32 did."""

import asyncio
import json
import random
from dataclasses import replace

import pytest
from failing_endpoint import FailingEndpoint, Reply, refusal
from transformers import AutoTokenizer

from turnmix.core.answer_form import AnswerForm
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Action, State
from turnmix.nano import CHECKPOINT
from turnmix.policies.endpoint.settings import EndpointSettings
from turnmix.policies.endpoint.wire import MalformedAnswer
from turnmix.policies.local.loading import load_renderer
from turnmix.policies.policy import Episode
from turnmix.policies.server.cache import Asking, cache_findings
from turnmix.policies.server.check import check_serving, check_text_prompts, refuse
from turnmix.policies.server.control import ServerControl
from turnmix.policies.server.engine import RenewalError, ServerSampling, Weights
from turnmix.policies.server.policy import ServerPolicy
from turnmix.policies.server.transformers import TransformersEngine
from turnmix.policies.server.verification import check_holds_weights
from turnmix.policies.server.vllm import VllmEngine

SAMPLING = ServerSampling(temperature=0.7, top_p=0.9, greedy=False, stop_ids=(2,))
GREEDY = ServerSampling(temperature=0.7, top_p=0.9, greedy=True, stop_ids=(2,))
BASH = ToolSpecification(
    name="execute_bash",
    description="Run it.",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)
STATE = State(messages=(Message(role="user", content="fix it"),), tools=(BASH,))
ABSENT = Reply(status=404, body=b'{"detail":"Not Found"}')
EMPTIED = Reply(body=b'{"success":true}')


def as_json(data, status=200):
    return Reply(status=status, body=json.dumps(data).encode())


def completed(token_ids, logprobs=None, text="", finish_reason="stop"):
    if logprobs is None:
        logprobs = [-0.5] * len(token_ids)
    choice = {"index": 0, "text": text, "finish_reason": finish_reason, "token_ids": token_ids}
    choice["logprobs"] = {"token_logprobs": logprobs}
    usage = {"prompt_tokens": 9, "completion_tokens": len(token_ids)}
    return as_json({"choices": [choice], "usage": usage})


def served(work, **replies):
    """What `work(control)` returns in a thread of its own, and the requests; replies by the path's last part."""

    async def run():
        async with FailingEndpoint(lambda _, request: replies[request.path.rpartition("/")[2]]) as server:
            control = ServerControl(server.url, api_key_environment="NO_SUCH_KEY")
            return await asyncio.to_thread(work, control), server.requests

    return asyncio.run(run())


def full():
    return VllmEngine(dtype="bfloat16", lora_rank=None)


def lora(rank=16):
    return VllmEngine(dtype="bfloat16", lora_rank=rank)


WEIGHTS = Weights(location="/run/iteration-001", base="/base", adapter="/run/iteration-001/adapter")


def test_all_weights_are_reloaded_from_the_checkpoint_and_the_prefix_cache_is_emptied():
    name, requests = served(
        lambda control: full().renew(control, WEIGHTS, timeout=60),
        collective_rpc=as_json({"results": [None]}),
        reset_prefix_cache=EMPTIED,
    )
    assert name == "student"
    assert [(request.path, request.body) for request in requests] == [
        ("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": "/run/iteration-001"}}),
        ("/reset_prefix_cache", {}),
    ]


def test_an_adapter_is_loaded_under_a_name_of_its_own_and_the_last_one_unloaded():
    engine = lora()

    def twice(control):
        return [engine.renew(control, WEIGHTS, timeout=60) for _ in range(2)]

    done = Reply(body=b"Success")
    (first, second), requests = served(
        twice, load_lora_adapter=done, unload_lora_adapter=done, reset_prefix_cache=EMPTIED
    )
    assert first != second
    assert [(request.path, request.body.get("lora_name")) for request in requests] == [
        ("/v1/load_lora_adapter", first),
        ("/reset_prefix_cache", None),
        ("/v1/unload_lora_adapter", first),
        ("/v1/load_lora_adapter", second),
        ("/reset_prefix_cache", None),
    ]
    assert requests[0].body["lora_path"] == "/run/iteration-001/adapter"


def test_before_any_training_the_base_model_acts_without_an_adapter():
    weights = Weights(location="/base", base="/base")
    name, _ = served(lambda control: lora().renew(control, weights, timeout=60), reset_prefix_cache=EMPTIED)
    assert name == "student"


def test_a_prefix_cache_that_is_not_emptied_is_an_error():
    with pytest.raises(RenewalError, match="reset_prefix_cache"):
        served(
            lambda control: full().renew(control, WEIGHTS, timeout=60),
            collective_rpc=as_json({"results": [None]}),
            reset_prefix_cache=as_json({"success": False}),
        )


@pytest.mark.parametrize("body", [b"[]", b"true", b"emptied", b'"done"'])
def test_an_answer_about_the_prefix_cache_that_is_no_object_is_an_error(body):
    with pytest.raises(RenewalError, match="reset_prefix_cache"):
        served(
            lambda control: full().renew(control, WEIGHTS, timeout=60),
            collective_rpc=as_json({"results": [None]}),
            reset_prefix_cache=Reply(body=body),
        )


@pytest.mark.parametrize(
    ("engine", "switch"),
    [(full(), "VLLM_SERVER_DEV_MODE=1"), (lora(), "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True")],
)
def test_a_server_started_without_the_switches_is_told_which_to_set(engine, switch):
    with pytest.raises(RenewalError, match=switch):
        served(
            lambda control: engine.renew(control, WEIGHTS, timeout=60),
            collective_rpc=ABSENT,
            load_lora_adapter=ABSENT,
        )


def test_weights_that_the_server_cannot_read_are_its_own_words():
    with pytest.raises(RenewalError, match=r"HTTP 500.*No such checkpoint"):
        served(
            lambda control: full().renew(control, WEIGHTS, timeout=60),
            collective_rpc=refusal(500, "No such checkpoint"),
        )


def test_the_command_serves_the_base_model_for_adapters_and_the_checkpoint_for_all_weights():
    assert full().command(WEIGHTS, port=8000)[:2] == ["serve", "/run/iteration-001"]
    command = lora(rank=17).command(WEIGHTS, port=8000)
    assert command[:2] == ["serve", "/base"]
    assert command[command.index("--max-lora-rank") + 1] == "32"
    assert command[command.index("--host") + 1] == "127.0.0.1"


def acting(*replies, max_new_tokens=48, context=8192, sampling=SAMPLING, state=STATE):
    """The actions of a policy in as many turns as there are replies, and the requests it sent."""
    _, renderer = load_renderer(CHECKPOINT)

    async def run():
        async with FailingEndpoint(lambda number, _: replies[number]) as server:
            policy = ServerPolicy(
                EndpointSettings(
                    endpoint=server.url,
                    model="student",
                    max_new_tokens=max_new_tokens,
                    max_attempts=2,
                    backoff_seconds=0.01,
                ),
                engine=full(),
                served_model=lambda: "student-1",
                renderer=renderer,
                context=context,
                sampling=sampling,
                generator=random.Random(0),
            )
            session = policy.begin(Episode(trajectory_id="a", task=None, seed=7))
            action = await session.act(state)
            await policy.close()
            return action, server.requests, policy.counters

    return asyncio.run(run()), renderer


def test_a_turn_is_asked_for_by_the_tokens_that_training_sees():
    call = '<tool_call>\n{"name": "execute_bash", "arguments": {"command": "ls"}}\n</tool_call><|im_end|>'
    tokens = AutoTokenizer.from_pretrained(CHECKPOINT)(call)["input_ids"]
    logprobs = [-0.1 * number for number in range(1, len(tokens) + 1)]
    (action, requests, counters), renderer = acting(completed(tokens, logprobs))
    body = requests[0].body
    assert requests[0].path == "/v1/completions"
    assert body["prompt"] == renderer.prompt_ids(STATE)
    assert body["model"] == "student-1"
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.7, 0.9, 48)
    assert body["stop_token_ids"] == [2]
    assert action == Action(
        message=action.message,
        token_ids=tuple(tokens),
        logprobs=tuple(logprobs),
        prompt_tokens=len(body["prompt"]),
        completion_tokens=len(tokens),
    )
    assert action.message.tool_calls[0].name == "execute_bash"
    assert counters.completion_tokens == len(tokens)


def test_greedy_is_temperature_0_of_the_whole_vocabulary():
    (_, requests, _), _ = acting(completed([5, 2]), sampling=GREEDY)
    assert (requests[0].body["temperature"], requests[0].body["top_p"]) == (0.0, 1.0)


def test_an_answer_cut_at_its_limit_is_told_so():
    (action, _, _), _ = acting(completed([5, 6], finish_reason="length"), max_new_tokens=2)
    assert "cut off after 2 tokens" in action.parse_error


@pytest.mark.parametrize("more", ["", " and more", " and more<|im_end|>"])
def test_an_answer_ends_before_a_stop_text_also_where_the_server_goes_on(more):
    """As with speculative decoding, where several tokens come at once."""
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    tokens = tokenizer(f"look\nObservation:{more}")["input_ids"]
    state = replace(STATE, form=AnswerForm(stop=("Observation:", "never")))
    logprobs = [-0.1 * number for number in range(1, len(tokens) + 1)]
    (action, requests, _), renderer = acting(completed(tokens, logprobs), state=state)
    assert requests[0].body["stop"] == ["Observation:", "never"]
    assert (action.message.content, action.parse_error) == ("look\n", None)
    size = len(action.token_ids)
    assert action.token_ids == tuple(tokens[:size])
    assert action.logprobs == tuple(logprobs[:size])
    said = [renderer.spelled(tokens[:number]) for number in (size - 1, size)]
    assert ["Observation:" in text for text in said] == [False, True]


def test_a_stop_text_that_never_came_leaves_an_answer_as_it_is():
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    tokens = tokenizer("look")["input_ids"]
    state = replace(STATE, form=AnswerForm(stop=("never",)))
    (ended, _, _), _ = acting(completed([*tokens, 2]), state=state)
    assert (ended.message.content, ended.parse_error, ended.token_ids) == ("look", None, (*tokens, 2))
    (cut, _, _), _ = acting(completed(tokens, finish_reason="length"), state=state, max_new_tokens=1)
    assert "cut off after 1 tokens" in cut.parse_error
    (_, native, _), _ = acting(completed([*tokens, 2]))
    assert "stop" not in native[0].body


def test_a_session_begun_anew_asks_with_the_seed_of_the_turn():
    """What a server draws follows from the state, however many turns the session has seen."""
    later = replace(
        STATE, messages=(*STATE.messages, Message(role="assistant", content="a"), *STATE.messages)
    )
    seeds = [acting(completed([5, 2]), state=state)[0][1][0].body["seed"] for state in (STATE, later, later)]
    assert seeds[0] != seeds[1] == seeds[2]


def test_a_conversation_that_fills_the_context_is_answered_without_asking():
    (action, requests, _), _ = acting(context=5)
    assert requests == []
    assert action.parse_error == "The conversation fills the context of 5 tokens: no answer fits."


def test_what_is_left_of_the_context_limits_the_answer():
    _, renderer = load_renderer(CHECKPOINT)
    length = len(renderer.prompt_ids(STATE))
    (_, requests, _), _ = acting(completed([5, 2]), context=length + 3)
    assert requests[0].body["max_tokens"] == 3


@pytest.mark.parametrize("floor", [None, -9999.0, float("-inf"), float("nan")])
def test_a_floor_among_the_sampled_tokens_log_probabilities_is_a_missing_value(floor):
    (action, _, counters), _ = acting(completed([5, 6, 2], [-0.5, floor, -1.5]))
    assert (action.logprobs, counters.retries) == ((-0.5, None, -1.5), {})


def test_an_answer_without_token_ids_is_asked_for_again():
    without = as_json({"choices": [{"text": "x", "finish_reason": "stop"}]})
    (action, _, counters), _ = acting(without, completed([5, 2]))
    assert action.token_ids == (5, 2)
    assert counters.retries == {"no_token_ids": 1}


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"<html>", "invalid_json"),
        (b"[]", "malformed_answer"),
        (b'{"choices": []}', "empty_choices"),
        (completed([1, 2], [-0.1]).body, "no_logprobs"),
        (completed([1, -1]).body, "malformed_answer"),
        (completed([1, 2], [None, -9999.0]).body, "no_logprobs"),
        (completed([1], finish_reason="abort").body, "aborted"),
    ],
)
def test_what_is_no_answer_is_counted_by_its_cause(body, cause):
    with pytest.raises(MalformedAnswer) as raised:
        full().read_completion(body)
    assert raised.value.cause == cause


def findings(engine=None, *, needed=4096, **replies):
    ready = {
        "health": Reply(),
        "version": as_json({"version": "0.32.0"}),
        "models": as_json({"data": [{"id": "student", "max_model_len": 8192}]}),
        "completions": completed([5, 2]),
    }

    def work(control):
        return check_serving(
            control,
            engine or full(),
            model="student",
            sampling=GREEDY,
            model_context=None,
            needed_context=needed,
        )

    found, _ = served(work, **{**ready, **replies})
    return {finding.subject: finding for finding in found}


def test_a_ready_server_passes_every_check():
    assert [finding.passed for finding in findings().values()] == [True] * 5


@pytest.mark.parametrize(
    ("told", "passed"),
    [
        ({"version": "0.15.1"}, False),
        ({"version": "0.16.0"}, True),
        ({"version": "1.0"}, True),
        ({"version": "0.1.dev7+g1234"}, None),  # built from a checkout without its tags
        ({"version": None}, None),
        ([], None),
    ],
)
def test_a_server_too_old_to_take_new_weights_is_refused_by_its_version(told, passed):
    found = findings(version=as_json(told))
    assert found["version"].passed is passed
    assert passed is not False or "install 0.16 or newer" in found["version"].detail
    assert ("model" in found) is (passed is not False)


@pytest.mark.parametrize(
    ("told", "at_1", "passed"),
    [
        ([-0.3, -2.0], [-0.9, -1.9], True),  # sharpened
        ([-0.91, -1.9], [-0.9, -1.91], False),  # rounding apart, as at temperature 1
        ([-0.001, -0.002], [-0.001, -0.002], True),  # as good as certain: nothing to tell them by
    ],
)
def test_a_server_that_tells_log_probabilities_at_another_temperature_is_refused(told, at_1, passed):
    choice = {
        "text": "",
        "finish_reason": "length",
        "token_ids": [5, 2],
        "logprobs": {"token_logprobs": told},
    }
    entries = [None, {"1": {"logprob": -3.0}}, {"5": {"logprob": at_1[0]}}, {"2": {"logprob": at_1[1]}}]
    answer = as_json({"choices": [{**choice, "prompt_logprobs": entries}]})
    engine = VllmEngine(dtype="bfloat16", lora_rank=None, tells_tempered_logprobs=True)
    finding = findings(engine, completions=answer)["logprobs"]
    assert finding.passed is passed
    assert passed or "--logprobs-mode processed_logprobs, or set student.temperature to 1" in finding.detail


@pytest.mark.parametrize(
    ("blocks", "asking", "passed", "said"),
    [
        (40_000, {}, True, "640,000 tokens: 9.2 conversations of 69,632; 32 are asked at once"),
        (8_000, {}, None, "set teacher.timeout_seconds=3687"),  # 18 rounds of 4,096 tokens at 20 a second
        (8_000, {"timeout": 4000.0}, True, "1.8 conversations"),
        (4_000, {}, False, "0.9 conversations of 69,632"),
    ],
)
def test_the_conversations_that_a_cache_holds_say_how_long_a_request_may_wait(blocks, asking, passed, said):
    told = (
        "# TYPE vllm:cache_config_info gauge\n"
        f'vllm:cache_config_info{{block_size="16",engine="0",num_gpu_blocks="{blocks}"}} 1.0\n'
    )
    usual = {"context": 69_632, "answer": 4096, "at_once": 32, "timeout": 1800.0}

    def work(control):
        return cache_findings(control.endpoint, Asking(field="teacher", **{**usual, **asking}))

    (finding,), requests = served(work, metrics=Reply(body=told.encode()))
    assert finding.passed is passed
    assert said in finding.detail
    assert requests[0].path == "/metrics"


@pytest.mark.parametrize("body", [b"", b'vllm:cache_config_info{num_gpu_blocks="None"} 1.0', b"{}"])
def test_a_server_that_tells_nothing_of_its_cache_is_not_judged_by_it(body):
    asking = Asking(field="teacher", context=100, answer=10, at_once=1, timeout=60.0)
    found, _ = served(lambda control: cache_findings(control.endpoint, asking), metrics=Reply(body=body))
    assert found == []


def test_a_server_that_is_not_healthy_is_not_asked_further():
    assert [finding.passed for finding in findings(health=Reply(status=503)).values()] == [False]


def test_a_context_shorter_than_the_runs_conversations_is_refused_with_both_numbers():
    finding = findings(needed=32768)["context"]
    assert finding.passed is False
    assert "scaffold.max_tokens: 32768: the served student reads 8192 tokens" in finding.detail


def test_a_server_that_does_not_know_the_model_is_refused_by_its_name():
    finding = findings(completions=refusal(404, "The model `student` does not exist"))["model"]
    assert finding.passed is False
    assert "'student'" in finding.detail


def test_a_server_that_returns_no_token_ids_is_refused():
    without = as_json({"choices": [{"text": "x", "finish_reason": "stop"}]})
    finding = findings(completions=without)["token_ids"]
    assert finding.passed is False
    assert "token_ids" in finding.detail


def test_an_engine_that_never_returns_them_is_no_failure():
    without = as_json({"choices": [{"text": "x", "finish_reason": "stop"}]})
    engine = TransformersEngine(device="cpu", dtype="float32")
    assert findings(engine, completions=without)["token_ids"].passed is None


def test_the_nano_student_survives_as_text():
    tokenizer, renderer = load_renderer(CHECKPOINT)
    finding = check_text_prompts(renderer, tokenizer)
    assert finding.passed
    refuse([finding])


def test_a_student_whose_calls_are_special_tokens_is_refused_for_servers_of_text():
    tokenizer, renderer = load_renderer(CHECKPOINT)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<tool_call>", "</tool_call>"]})
    assert check_text_prompts(renderer, tokenizer).passed is False


def test_a_checkpoint_that_transformers_serve_would_misread_is_refused():
    engine = TransformersEngine(device="cpu", dtype="float32")
    weights = Weights(location="/runs/a@b/iteration-001", base="/base")
    with pytest.raises(RenewalError, match="@"):
        served(lambda control: engine.renew(control, weights, timeout=60))


PROMPT = [7, 8, 9]


def held_to(own, *, dtype="float32", served_logprobs=(-1.0, -2.0), before=None):
    entries = [None, *({str(t): {"logprob": v}} for t, v in zip(PROMPT[1:], served_logprobs, strict=True))]
    served(
        lambda control: check_holds_weights(
            full(), control, model="student", prompt=PROMPT, own=lambda _: own, dtype=dtype, before=before
        ),
        completions=as_json({"choices": [{"text": "", "prompt_logprobs": entries}]}),
    )


def test_a_server_whose_log_probabilities_are_the_students_holds_its_weights():
    held_to([-1.001, -1.999])


def test_a_server_that_kept_a_part_of_the_old_weights_is_found_out():
    # |−1 + 1.05| and 0: 0.025 on average, which roundings of float32 do not explain; those of bfloat16 would.
    with pytest.raises(RenewalError, match=r"0\.025 off"):
        held_to([-1.05, -2.0])
    held_to([-1.05, -2.0], dtype="bfloat16")


def test_a_server_that_kept_the_old_weights_is_found_out_where_roundings_would_explain_as_much():
    with pytest.raises(RenewalError, match="nearer those of the weights before"):
        held_to([-1.05, -1.96], dtype="bfloat16", before=[-1.001, -2.0])
    held_to([-1.001, -2.0], dtype="bfloat16", before=[-1.05, -1.96])
    held_to([-1.001, -2.0], dtype="bfloat16", before=[-1.001, -2.0])


def test_log_probabilities_that_are_no_numbers_are_no_agreement():
    with pytest.raises(RenewalError):
        held_to([float("nan"), -2.0])


def test_a_server_that_scores_no_prompts_cannot_be_held_to_anything():
    with pytest.raises(RenewalError, match="prompt_logprobs"):
        served(
            lambda control: check_holds_weights(
                full(), control, model="student", prompt=PROMPT, own=lambda _: [0.0, 0.0], dtype="float32"
            ),
            completions=as_json({"choices": [{"text": ""}]}),
        )


def test_an_engine_of_text_is_believed():
    engine = TransformersEngine(device="cpu", dtype="float32")
    served(
        lambda control: check_holds_weights(
            engine, control, model="student", prompt=PROMPT, own=lambda _: [0.0, 0.0], dtype="float32"
        )
    )
