"""A teacher behind an endpoint scores the student's tokens, by vLLM's prompt_logprobs, over a real connection."""

import asyncio
import json
import random

import pytest
from failing_endpoint import FailingEndpoint, Reply, refusal

from turnmix.core.errors import TeacherError, UserError
from turnmix.policies.endpoint.scorer import EndpointScorer
from turnmix.policies.endpoint.settings import EndpointSettings
from turnmix.policies.scoring import ScoreRequest, TokenPath
from turnmix.teachers.endpoint import EndpointTeacherSettings

NAMES = {token: f"word{token}" for token in range(200)}


def scores(number, request, names=NAMES):
    """log π of a token: minus its id, and a thousandth of its place."""
    ids = request.body["prompt"]
    entries = [
        {str(token): {"logprob": -token - place / 1000, "rank": 1, "decoded_token": names[token]}}
        for place, token in enumerate(ids)
    ]
    return Reply(
        body=json.dumps({"choices": [{"text": "", "prompt_logprobs": [None, *entries[1:]]}]}).encode()
    )


def with_endpoint(script, use, **changes):
    """What `use(scorer)` returns, and the requests that the endpoint got."""

    async def serve():
        async with FailingEndpoint(script) as server:
            settings = EndpointSettings(
                endpoint=server.url, model="teacher-7b", backoff_seconds=0.01, max_attempts=3, **changes
            )
            scorer = EndpointScorer(settings, generator=random.Random(0))
            return await asyncio.to_thread(use, scorer), server

    return asyncio.run(serve())


def check(script, names=NAMES):
    return with_endpoint(script, lambda scorer: scorer.check(vocabulary=200, name_of=names.__getitem__))


def path(prompt, target):
    return TokenPath(prompt_ids=tuple(prompt), target_ids=tuple(target))


def test_a_trajectory_is_scored_by_one_request_for_each_path_that_no_other_begins_with():
    """Two turns in a row, and one whose template rewrote history: two requests."""
    request = ScoreRequest(
        trajectory_id="a", paths=[path([1, 2], [3, 4]), path([1, 2, 3, 4, 5], [6]), path([1, 9], [3])]
    )
    found = {}
    _, server = with_endpoint(scores, lambda scorer: scorer.score([request], found.__setitem__))
    assert found == {"a": [pytest.approx([-3.002, -4.003]), pytest.approx([-6.005]), pytest.approx([-3.002])]}
    assert [each.body["prompt"] for each in server.requests] == [[1, 2, 3, 4, 5, 6], [1, 9, 3]]
    assert {each.path for each in server.requests} == {"/v1/completions"}
    assert all(each.body["prompt_logprobs"] == 0 for each in server.requests)


@pytest.mark.parametrize(
    "floor", ["null", "-9999.0", "-1e30", "-Infinity", "NaN", '"-Infinity"', '"NaN"', "1e999", "0.93", "[1]"]
)
def test_a_floor_for_log_0_is_a_missing_value_and_the_rest_is_kept(floor):
    def script(number, request):
        body = scores(number, request).body.replace(b"-4.003", floor.encode())
        assert floor.encode() in body
        return Reply(body=body)

    found = {}
    request = ScoreRequest(trajectory_id="a", paths=[path([1, 2], [3, 4, 5])])
    with_endpoint(script, lambda scorer: scorer.score([request], found.__setitem__))
    assert found == {"a": [[pytest.approx(-3.002), None, pytest.approx(-5.004)]]}


def test_an_entry_that_is_null_as_a_whole_is_a_missing_value():
    def script(number, request):
        answer = json.loads(scores(number, request).body)
        answer["choices"][0]["prompt_logprobs"][3] = None
        return Reply(body=json.dumps(answer).encode())

    found = {}
    request = ScoreRequest(trajectory_id="a", paths=[path([1, 2], [3, 4, 5])])
    with_endpoint(script, lambda scorer: scorer.score([request], found.__setitem__))
    assert found == {"a": [[pytest.approx(-3.002), None, pytest.approx(-5.004)]]}


@pytest.mark.parametrize(
    "listed", [None, [], "none", [None, {"3": -1.0}], [None, *[{"9": {"logprob": -1.0}}] * 4], [None] * 9]
)
def test_an_answer_that_speaks_of_other_tokens_costs_its_path_alone(listed):
    def script(number, request):
        if request.body["prompt"][0] == 2:
            return scores(number, request)
        return Reply(body=json.dumps({"choices": [{"text": "", "prompt_logprobs": listed}]}).encode())

    found = {}
    requests = [ScoreRequest(trajectory_id=f"{first}", paths=[path([first, 2], [3, 4])]) for first in (1, 2)]
    with_endpoint(script, lambda scorer: scorer.score(requests, found.__setitem__))
    assert found == {"1": [[None, None]], "2": [pytest.approx([-3.002, -4.003])]}


def test_many_trajectories_are_scored_through_failures_and_never_more_at_once_than_allowed():
    asked = set()

    def fails_first(number, request):
        prompt = tuple(request.body["prompt"])
        if prompt in asked:
            return scores(number, request)
        asked.add(prompt)
        return refusal(500, "boom")

    requests = [ScoreRequest(trajectory_id=str(number), paths=[path([number], [7])]) for number in range(20)]
    found = {}
    _, server = with_endpoint(
        fails_first, lambda scorer: scorer.score(iter(requests), found.__setitem__), max_concurrency=4
    )
    assert found == {str(number): [[pytest.approx(-7.001)]] for number in range(20)}
    assert server.most_active <= 4


def test_an_endpoint_that_stays_away_is_a_teacher_error_and_keeps_what_was_scored():
    def dies(number, request):
        return scores(number, request) if number < 2 else refusal(503, "gone")

    requests = [ScoreRequest(trajectory_id=str(number), paths=[path([number], [7])]) for number in range(4)]
    found = {}
    with pytest.raises(TeacherError, match="gave no answer in 3 attempts; the last: HTTP 503"):
        with_endpoint(dies, lambda scorer: scorer.score(requests, found.__setitem__), max_concurrency=1)
    assert sorted(found) == ["0", "1"]


def test_an_endpoint_with_the_students_vocabulary_and_prompt_logprobs_passes_the_check():
    _, server = check(scores)
    assert len(server.requests) == 1
    assert {0, 199} <= set(server.requests[0].body["prompt"])


def check_context(listed, student_context):
    def script(number, request):
        if request.path == "/v1/models":
            return Reply(body=json.dumps({"data": [{"id": "teacher-7b", **listed}]}).encode())
        return scores(number, request)

    return with_endpoint(
        script,
        lambda scorer: scorer.check(
            vocabulary=200, name_of=NAMES.__getitem__, student_context=student_context
        ),
    )


def test_an_endpoint_that_reads_less_than_the_student_learns_from_is_refused_before_the_run():
    with pytest.raises(UserError, match=r"reads 4096 tokens there, .* or set learner\.max_context=4095"):
        check_context({"max_model_len": 4096}, 4096)
    check_context({"max_model_len": 4097}, 4096)
    check_context({}, 4096)  # the list does not tell


def test_an_endpoint_that_scores_short_prompts_alone_is_refused_before_the_run():
    def out_of_memory(number, request):
        return scores(number, request) if len(request.body["prompt"]) <= 64 else refusal(500, "out of memory")

    with pytest.raises(
        UserError, match=r"does not score 5000 tokens in one request: .*out of memory.*batched"
    ):
        with_endpoint(out_of_memory, lambda scorer: scorer.check_length(5000))
    _, server = with_endpoint(scores, lambda scorer: scorer.check_length(5000))
    assert [len(request.body["prompt"]) for request in server.requests] == [5000]


def test_scoring_has_a_time_and_a_number_of_its_own():
    teacher = EndpointTeacherSettings(endpoint="http://host/v1", model="m", timeout_seconds=60)
    scoring = teacher.for_scoring()
    assert (scoring.timeout_seconds, scoring.max_concurrency) == (1800.0, 4)
    assert (teacher.timeout_seconds, teacher.max_concurrency) == (60, 32)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b'{"choices": [{"text": "x"}]}'),
        Reply(body=b'{"choices": [{"text": "x", "prompt_logprobs": null}]}'),
        refusal(404, "no such route"),
        refusal(400, "prompt must be a string"),
    ],
)
def test_a_black_box_is_refused_before_the_run_with_the_reason(reply):
    with pytest.raises(
        UserError, match=r"teacher.endpoint .* gives no prompt_logprobs for 'teacher-7b' .*dagger"
    ):
        check(lambda number, request: reply)


def test_an_endpoint_of_another_vocabulary_is_refused_before_the_run():
    others = {token: f"word{token if token < 150 else token + 1}" for token in NAMES}
    with pytest.raises(
        UserError, match=r"the token 15\d is 'word15\d' to 'teacher-7b' and 'word15\d' to the"
    ):
        check(lambda number, request: scores(number, request, others))


def test_an_endpoint_that_cannot_be_reached_is_a_teacher_error():
    settings = EndpointSettings(
        endpoint="http://127.0.0.1:9/v1", model="m", backoff_seconds=0.0, max_attempts=2
    )
    with pytest.raises(TeacherError, match="gave no answer in 2 attempts"):
        EndpointScorer(settings, generator=random.Random(0)).check(vocabulary=10, name_of=str)
