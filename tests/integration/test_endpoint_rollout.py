"""Whole trajectories with an endpoint teacher whose server fails: they complete, or end as infra_error."""

import asyncio
import json
import random
import re

import pytest
from failing_endpoint import FailingEndpoint, Reply, completion, refusal

from chat_models import make_tokenizer
from turnmix.core.trajectory import StopReason
from turnmix.environments.counting import CountingSource
from turnmix.methods.targets import imitate, teacher_label
from turnmix.policies.endpoint.policy import EndpointPolicy, EndpointSettings
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rendering.renderer import Renderer
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import DaggerMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.training.forest import grow_forest
from turnmix.training.learner_settings import LearnerSettings

UNREACHABLE = {
    "429": refusal(429, "slow down", Retry_After="0.01"),
    "500": refusal(500, "boom"),
    "timeout": Reply(delay=300),
    "connection_lost": Reply(body=b'{"choices": [', cut_after=5),
    "invalid_json": Reply(body=b"<html>oops</html>"),
    "empty_choices": Reply(body=b'{"choices": []}'),
}
MISTAKEN = {
    "unknown_tool": completion(calls=[("browse", "{}")]),
    "invalid_arguments": completion(calls=[("add", '{"amount": ')]),
    "no_calls": completion("hm", finish_reason="tool_calls"),
}


def teach(request):
    """The counting world's expert, from the messages alone: bring the counter to its goal, then finish."""
    messages = request.body["messages"]
    goal = int(re.search(r"to (\d+)", messages[0]["content"])[1])
    told = [re.search(r"the counter is at (-?\d+)", message["content"] or "") for message in messages]
    count = ([int(match[1]) for match in told if match] or [0])[-1]
    call = ("add", json.dumps({"amount": goal - count})) if count != goal else ("finish", "{}")
    return completion("", [call])


def roll_out(script, *, max_attempts=8, tasks=6, timeout=120):
    """Trajectories of a student who always adds 2 and never finishes, under β = 0.6, labels included."""
    source = CountingSource(num_train=tasks, max_turns=40)
    plans = make_plans(source.tasks("train"), iteration=3, seed=0, cohort_size=3, beta=0.6)
    student = ScriptedPolicy.of_actions("student", [call_action("add", amount=2)])

    async def run():
        async with FailingEndpoint(script) as server:
            settings = EndpointSettings(
                endpoint=server.url,
                model="expert",
                timeout_seconds=timeout,
                max_attempts=max_attempts,
                backoff_seconds=0.01,
                max_backoff_seconds=0.02,
            )
            teacher = EndpointPolicy(settings, generator=random.Random(0))
            trajectories = await collect(
                RolloutRequest(
                    plans=plans,
                    source=source,
                    student=student,
                    teacher=teacher,
                    mixture=DaggerMixture(),
                    label=True,
                    concurrency=6,
                    attempts=2,
                    backoff_seconds=0.01,
                )
            )
            await teacher.close()
            return trajectories, teacher.counters

    return asyncio.run(asyncio.wait_for(run(), 600))


def test_without_failures_every_trajectory_is_resolved():
    trajectories, counters = roll_out(lambda _, request: teach(request))
    assert [trajectory.verdict.resolved for trajectory in trajectories] == [True] * 6
    actors = {turn.actor for trajectory in trajectories for turn in trajectory.turns}
    assert actors == {"student", "teacher"}
    assert all(turn.label is not None for trajectory in trajectories for turn in trajectory.turns)
    # One query a turn: the label of a teacher turn is the executed action.
    assert counters.requests == sum(len(trajectory.turns) for trajectory in trajectories)


@pytest.mark.parametrize("cause", UNREACHABLE)
def test_failures_that_pass_change_nothing_about_the_trajectories(cause):
    undisturbed, _ = roll_out(lambda _, request: teach(request))
    trajectories, counters = roll_out(
        lambda number, request: UNREACHABLE[cause] if number % 4 == 1 else teach(request),
        timeout=0.25 if cause == "timeout" else 120,
    )
    assert counters.retries[cause] >= 1
    for calm, disturbed in zip(undisturbed, trajectories, strict=True):
        assert [turn.action for turn in disturbed.turns] == [turn.action for turn in calm.turns]
        assert [turn.label for turn in disturbed.turns] == [turn.label for turn in calm.turns]
        assert disturbed.verdict == calm.verdict


@pytest.mark.parametrize("cause", [cause for cause in UNREACHABLE if cause != "429"])
def test_a_teacher_that_stays_away_is_an_infra_error_and_never_unresolved(cause):
    trajectories, _ = roll_out(
        lambda number, request: UNREACHABLE[cause] if number >= 8 else teach(request),
        max_attempts=2,
        timeout=0.25 if cause == "timeout" else 120,
    )
    lost = [one for one in trajectories if one.stop_reason is StopReason.infra_error]
    assert len(lost) >= 4
    assert all(one.verdict is None and "TeacherError" in one.error for one in lost)
    assert all(one.verdict.resolved for one in trajectories if one not in lost)


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_a_teachers_mistake_is_answered_by_an_observation_and_the_trajectory_goes_on(mistake):
    trajectories, counters = roll_out(
        lambda number, request: MISTAKEN[mistake] if number % 4 == 1 else teach(request)
    )
    assert counters.retries == {}
    assert [one.stop_reason for one in trajectories] == [StopReason.finished] * 6
    assert all(one.verdict.resolved for one in trajectories)


LEFT_IN_ANSWERS = {
    "nothing": completion(None),
    "thoughts": completion("<think>\nThe counter must rise.\n</think>\n\n"),
    "a call as text": completion('<tool_call>\n{"name": "finish", "arguments": {}}\n</tool_call>'),
    "a foreign call": completion('[TOOL_CALLS][{"name": "finish", "arguments": {}}]'),
    "a control token in the name": completion(calls=[("add<|channel|>commentary", '{"amount": 1}')]),
    "an unknown tool": completion(calls=[("increase", '{"amount": 1}')]),
    "an unknown argument": completion(calls=[("add", '{"number": 1}')]),
    "prose that names a mark": completion("It looks for `<tool_call>` first.", [("add", '{"amount": 1}')]),
    "an end of turn": completion("I add.<|im_end|>", [("add", '{"amount": 1}')]),
}


@pytest.mark.parametrize("left", LEFT_IN_ANSWERS)
def test_what_a_server_leaves_in_an_answer_is_taught_to_nobody_and_counted(left):
    trajectories, _ = roll_out(
        lambda number, request: LEFT_IN_ANSWERS[left] if number % 4 == 1 else teach(request)
    )
    taught = imitate(trajectories, teacher_label)
    renderer = Renderer(make_tokenizer())
    forest = grow_forest(
        taught.transitions, renderer, LearnerSettings(), max_context=100_000, needs_reference_logprobs=False
    )
    num_left_out = len(taught.untaught) + len(forest.untaught)
    assert 0 < num_left_out < sum(len(trajectory.turns) for trajectory in trajectories)
    said = [
        renderer.parse(renderer.target_ids(item.state, item.target), item.state.tools).message
        for item in taught.transitions
        if item.target not in [each.target for each in forest.untaught]
    ]
    assert {call.name for message in said for call in message.tool_calls} == {"add", "finish"}
    assert {message.content for message in said} == {""}


def test_every_failure_at_once_leaves_each_trajectory_resolved_or_an_infra_error():
    generator = random.Random(0)
    ways = [*UNREACHABLE.values(), *MISTAKEN.values()]

    def script(_, request):
        return generator.choice(ways) if generator.random() < 0.5 else teach(request)

    trajectories, counters = roll_out(script, max_attempts=4, tasks=30, timeout=0.25)
    assert len(trajectories) == 30
    assert set(counters.retries) == set(UNREACHABLE)
    for trajectory in trajectories:
        if trajectory.stop_reason is StopReason.infra_error:
            assert trajectory.verdict is None
        else:
            assert trajectory.verdict.resolved
