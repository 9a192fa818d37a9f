"""An endpoint teacher repairs real repositories in sandboxes while every other request of it fails."""

import asyncio
import json
import random

from failing_endpoint import FailingEndpoint, Reply, completion, refusal

from turnmix.core.trajectory import StopReason
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.policies.endpoint.policy import EndpointPolicy, EndpointSettings
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

FAILURES = [
    refusal(429, "slow down", Retry_After="0.01"),
    refusal(500, "boom"),
    Reply(delay=300),
    Reply(body=b'{"choices": [', cut_after=5),
    Reply(body=b"<html>oops</html>"),
    Reply(body=b'{"choices": []}'),
    completion(calls=[("browse", "{}")]),
    completion(calls=[("execute_bash", '{"command": ')]),
]


def repair(request, source, tasks):
    """Write the next gold file that was not written yet, then finish; from the messages alone."""
    messages = request.body["messages"]
    task = next(
        task for task in tasks if any(task.problem_statement in (one["content"] or "") for one in messages)
    )
    asked = [
        json.loads(call["function"]["arguments"])
        for message in messages
        for call in message.get("tool_calls", ())
        if call["function"]["name"] == "execute_bash"
    ]
    for path, text in source.solution(task).files.items():
        command = f"cat > {task.workspace.working_directory}/{path} <<'END'\n{text}END"
        if {"command": command} not in asked:
            return completion(calls=[("execute_bash", json.dumps({"command": command}))])
    return completion(calls=[("finish", '{"message": "done"}')])


def test_repositories_are_repaired_through_every_failure():
    source = MinirepoSource(
        MinirepoSettings(train=4),
        make_sandbox=BubblewrapSettings().make,
        scaffold=ScaffoldSettings(max_turns=20),
    )
    tasks = source.tasks("train")[:4]

    def script(number, request):
        failing, which = number % 2, number // 2 % len(FAILURES)
        return FAILURES[which] if failing else repair(request, source, tasks)

    async def run():
        async with FailingEndpoint(script) as server:
            settings = EndpointSettings(
                endpoint=server.url, model="expert", timeout_seconds=2, backoff_seconds=0.02, max_attempts=8
            )
            teacher = EndpointPolicy(settings, generator=random.Random(0))
            trajectories = await collect(
                RolloutRequest(
                    plans=make_plans(tasks, iteration=1, seed=0, cohort_size=2, beta=1.0),
                    source=source,
                    student=ScriptedPolicy.of_actions("student", [text_action("hm")]),
                    teacher=teacher,
                    mixture=TeacherMixture(),
                    label=True,
                    concurrency=4,
                )
            )
            await teacher.close()
            return trajectories, teacher.counters

    trajectories, counters = asyncio.run(asyncio.wait_for(run(), 600))
    assert sum(counters.retries.values()) >= 4
    for trajectory in trajectories:
        assert trajectory.stop_reason is StopReason.finished, trajectory.error
        assert trajectory.verdict.resolved
    told = [message.content for one in trajectories for turn in one.turns for message in turn.observation]
    assert any("no tool 'browse'" in text or 'no tool "browse"' in text for text in told)
    assert any("could not be read" in text for text in told)
