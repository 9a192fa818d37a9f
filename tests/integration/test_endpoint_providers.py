"""The command line against one scripted server for each family of providers' faults: none of them ends a run that
could go on, and none is taught."""

import asyncio
import json

import pytest
from failing_endpoint import FailingEndpoint, Reply, completion, refusal
from long_tests import takes_many_minutes, takes_minutes
from scaffold_in_sandbox import needs_sandbox

from strict_environment import strict_environment
from warm_python import run_turnmix

pytestmark = needs_sandbox
RECIPE = """\
method: dagger
iterations: 1
tasks: {train: 8, holdout: 4}
student: {model: nano-student, cohort_size: 2, max_new_tokens: 32}
scaffold: {max_turns: 5}
rollouts: {tasks_per_iteration: 2}
evaluation: {tasks: 1, base: false}
"""
SECRET = "query-secret-123"


def turns(request):
    return sum(message["role"] == "assistant" for message in request.body["messages"])


def sensible(request):
    """Ready when asked; else it looks, edits and finishes."""
    if [tool["function"]["name"] for tool in request.body.get("tools", ())] == ["report_ready"]:
        return completion("", [("report_ready", '{"message": "ready"}')])
    steps = [
        ("Look.", ("execute_bash", '{"command": "ls"}')),
        ("Edit.", ("execute_bash", '{"command": "echo \'# seen\' >> seen.py"}')),
        ("Done.", ("finish", '{"message": "done"}')),
    ]
    text, call = steps[min(turns(request), 2)]
    return completion(text, [call])


def with_field(reply, **fields):
    data = json.loads(reply.body)
    data["choices"][0]["message"].update(fields)
    return Reply(body=json.dumps(data).encode())


def said_as_200(message, code):
    return Reply(body=json.dumps({"error": {"message": message, "code": code}}).encode())


def gemini(_, request):
    for message in request.body["messages"]:
        for call in message.get("tool_calls", ()):
            if "extra_content" not in call:
                return refusal(400, "Function call is missing a thought_signature in functionCall parts.")
    data = json.loads(sensible(request).body)
    for call in data["choices"][0]["message"]["tool_calls"]:
        call["extra_content"] = {"google": {"thought_signature": "abc"}}
    return Reply(body=json.dumps(data).encode())


def deepseek(_, request):
    for message in request.body["messages"]:
        if message["role"] == "assistant" and "reasoning_content" not in message:
            return refusal(
                400, "The `reasoning_content` in the thinking mode must be passed back to the API."
            )
    return with_field(sensible(request), reasoning_content="Never to be learned.")


def groq(_, request):
    if any("reasoning" in message for message in request.body["messages"]):
        return refusal(400, "'messages.1' : property 'reasoning' is unsupported")
    return with_field(sensible(request), reasoning="Never to be learned.")


def strict_texts(_, request):
    if any(message.get("content") == "" for message in request.body["messages"]):
        return refusal(400, "messages: text content blocks must be non-empty")
    return with_field(sensible(request), content=None)


def no_nulls(_, request):
    if any(message.get("content") is None for message in request.body["messages"]):
        return refusal(400, "messages[1].content: Input should be a valid string, got null")
    return sensible(request)


def reasoning_model(_, request):
    if "max_tokens" in request.body:
        told = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        return refusal(400, f"Unsupported parameter: {told}")
    for name in ("temperature", "top_p"):
        if name in request.body:
            return refusal(
                400, f"Unsupported value: '{name}' does not support 0.7 with this model. Only the default"
            )
    return sensible(request)


def window():
    """Two requests, then 429 without a Retry-After until three have met it."""
    counts = {"let": 0, "refused": 0}

    def script(_, request):
        if counts["let"] >= 4 and counts["refused"] < 9:
            counts["refused"] += 1
            return refusal(429, "Rate limit reached: 4 requests per minute")
        counts["let"] += 1
        return sensible(request)

    return script


PASSING_BY_ITSELF = [
    refusal(498, "Flex tier capacity exceeded"),
    refusal(499, "The operation was cancelled"),
    refusal(424, "Request failed during generation"),
    refusal(404, "no available server"),
    Reply(status=302, headers={"Location": "https://login.example.com/?a=b"}),
    said_as_200("overloaded", 503),
    completion("half", finish_reason="error"),
]


def every_second_fails(number, request):
    """Once anything was answered; and each way but once."""
    which = (number - 3) // 2
    is_failing = number % 2 and 0 <= which < len(PASSING_BY_ITSELF)
    return PASSING_BY_ITSELF[which] if is_failing else sensible(request)


PASSING = {
    "what passes by itself": every_second_fails,
    "a quota by the minute": window(),
    "signed calls": gemini,
    "reasoning to be passed back": deepseek,
    "reasoning that is not taken back": groq,
    "no empty texts": strict_texts,
    "no null contents": no_nulls,
    "parameters of a reasoning model": reasoning_model,
}
SAID_ONCE = {
    "signed calls": "it wants a signature",
    "reasoning to be passed back": "it wants reasoning_content",
    "reasoning that is not taken back": "does not take it back",
    "no null contents": "takes no null content",
    "parameters of a reasoning model": "max_completion_tokens is sent in its place",
}


def turnmix(folder, script, *words, query="", **environment):
    """Exit code, what was said, and the requests that the endpoint got."""
    (folder / "small.yaml").write_text(RECIPE)

    async def run():
        async with FailingEndpoint(script_with_models(script)) as server:
            given = [word.replace("URL", server.url + query) for word in words]
            env = {**strict_environment(), **environment}
            done = await asyncio.to_thread(run_turnmix, *given, cwd=folder, env=env)
            return done.returncode, done.stdout + done.stderr, server.requests

    return asyncio.run(run())


def script_with_models(script):
    asked = []

    def answer(_, request):
        if request.method == "GET":
            return Reply(body=json.dumps({"data": [{"id": "m"}]}).encode())
        asked.append(request)
        return script(len(asked) - 1, request)

    return answer


def train(folder, script, *more, **options):
    teacher = (
        "teacher.kind=endpoint",
        "teacher.endpoint=URL",
        "teacher.model=m",
        "teacher.backoff_seconds=0.05",
        "teacher.max_backoff_seconds=0.1",
    )
    return turnmix(folder, script, "train", "small.yaml", *teacher, *more, "--run", "run", **options)


def trajectories(folder):
    return [json.loads(line) for line in (folder / "run" / "trajectories.jsonl").read_text().splitlines()]


QUICK = ("what passes by itself", "signed calls")


@pytest.mark.parametrize(
    "fault", [pytest.param(each, marks=() if each in QUICK else takes_many_minutes) for each in PASSING]
)
def test_a_run_goes_on_through(tmp_path, fault):
    code, said, requests = train(tmp_path, PASSING[fault])
    assert code == 0, said
    assert [one["stop_reason"] for one in trajectories(tmp_path)] == ["finished"] * 2
    assert said.count(SAID_ONCE.get(fault, "")) == 1 or fault not in SAID_ONCE
    taught = (tmp_path / "run" / "trajectories.jsonl").read_text()
    shown = [json.loads(line)["turns"] for line in taught.splitlines()]
    assert "Never to be learned" not in json.dumps(
        [[turn["action"]["message"] for turn in one] for one in shown]
    )

    (row,) = json.loads((tmp_path / "run" / "summary.json").read_text())["iterations"]
    chat = [request for request in requests if request.path.endswith("/chat/completions")]
    # Those of the questions before the run are not its teacher's.
    asked = [
        one for one in chat if [tool["function"]["name"] for tool in one.body["tools"]] != ["report_ready"]
    ]
    assert row["usage"]["teacher"]["requests"] == len(asked)
    assert row["usage"]["teacher"]["input_tokens"] == 10 * (len(asked) - row["usage"]["teacher"]["retries"])
    assert "tokens in" in said


def test_a_conversation_that_is_too_long_is_data(tmp_path):
    def script(_, request):
        if turns(request):
            return refusal(
                400, "The input token count (1200000) exceeds the maximum number of tokens allowed."
            )
        return sensible(request)

    code, said, _ = train(tmp_path, script)
    assert "infra_error" not in {one["stop_reason"] for one in trajectories(tmp_path)}, said
    assert "a second short turn is too long" in said or code in (0, 1)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (refusal(401, "no such key"), "OPENAI_API_KEY"),
        (refusal(400, "API key not valid. Please pass a valid API key."), "OPENAI_API_KEY"),
        (Reply(body=b'{"detail": "Not authenticated"}'), "OPENAI_API_KEY"),
        (refusal(400, "m does not support tools"), "scaffold.tool_calls to text"),
        (refusal(404, "No endpoints found that support tool use"), "scaffold.tool_calls to text"),
        (
            refusal(400, "max_tokens is too large: 4096. At most 100 are supported"),
            "teacher.max_new_tokens 4096",
        ),
        (refusal(404, "no such model"), "does not serve teacher.model 'm'"),
        (said_as_200("Invalid API key", 401), "OPENAI_API_KEY"),
        (
            Reply(body=b'{"error": "Unexpected endpoint or method. (POST /chat/completions)"}'),
            "does not serve",
        ),
        (
            Reply(status=308, headers={"Location": "https://new.example.com/v1/chat/completions?key=1"}),
            "redirects to https://new.example.com/v1/chat/completions; set teacher.endpoint",
        ),
        (completion("I would rather not."), "answered without calling the tool"),
    ],
)
def test_wrong_settings_are_one_line_before_anything_is_begun(tmp_path, reply, named):
    code, said, _ = train(tmp_path, lambda *_: reply)
    assert (code, named in said, "Traceback" in said) == (2, True, False), said
    assert not (tmp_path / "run").exists()


@takes_minutes
def test_a_quota_that_stays_used_up_is_told_and_nothing_is_lost(tmp_path):
    code, said, _ = train(
        tmp_path,
        lambda number, request: refusal(429, "quota") if number > 3 else sensible(request),
        "teacher.max_throttled_seconds=1",
    )
    assert code != 0
    assert "teacher.max_throttled_seconds" in said
    code, said, _ = train(tmp_path, lambda _, request: sensible(request), "teacher.max_throttled_seconds=1")
    assert code == 0, said


def test_a_key_in_the_urls_query_is_sent_and_reaches_neither_disk_nor_screen(tmp_path):
    code, said, requests = train(tmp_path, lambda _, request: sensible(request), query=f"?key={SECRET}")
    assert code == 0, said
    assert {request.path.partition("?")[2] for request in requests} == {f"key={SECRET}"}
    stored = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert (SECRET in said, SECRET.encode() in stored) == (False, False)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"ALL_PROXY": "socks4://127.0.0.1:9"}, "ALL_PROXY=socks4://127.0.0.1:9"),
        ({"HTTP_PROXY": "http://me:hush@127.0.0.1:port"}, "HTTP_PROXY=127.0.0.1:port"),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost,::1/128,[::1]"}, "cannot connect"),
        (
            {"HTTP_PROXY": "http://me:hush@127.0.0.1:9"},
            "cannot connect through the proxy http://***@127.0.0.1:9",
        ),
        ({"SSL_CERT_FILE": "/"}, "name a file of them, or unset it"),
        ({"SSL_CERT_FILE": "/no/such/file"}, "SSL_CERT_FILE=/no/such/file"),
    ],
)
def test_variables_of_the_environment_in_any_form_give_one_line(tmp_path, variables, named):
    none = dict.fromkeys(("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"), "")
    none |= {name.lower(): "" for name in none}
    scheme = "https" if "SSL_CERT_FILE" in variables else "http"
    words = ("teacher.kind=endpoint", f"teacher.endpoint={scheme}://127.0.0.2:1/v1", "teacher.model=m")
    code, said, _ = turnmix(
        tmp_path,
        lambda _, request: sensible(request),
        *("train", "small.yaml", *words, "teacher.max_attempts=1", "--run", "run"),
        **{**none, **variables},
    )
    assert (code, "Traceback" in said, "hush" in said) == (2, False, False), said
    assert named in said


def test_an_endpoint_and_a_teacher_are_evaluated_by_the_same_recipe(tmp_path):
    words = ("small.yaml", "evaluation.tasks=2")
    code, said, _ = turnmix(
        tmp_path, lambda _, request: sensible(request), "evaluate", "URL", *words, "teacher.model=m"
    )
    assert code == 0, said
    assert "teacher: m at http://127.0.0.1" in said
    assert "resolved: 0/2" in said
    assert "asked of the teacher: 6 requests (0 retries), 60 tokens in" in said
    code, said, _ = turnmix(
        tmp_path, lambda *_: refusal(500, "unasked"), "evaluate", "teacher", *words, "scaffold.max_turns=30"
    )
    assert code == 0, said
    assert "resolved: 2/2" in said
    assert (tmp_path / "evaluations" / "teacher-oracle-small" / "results.json").is_file()
