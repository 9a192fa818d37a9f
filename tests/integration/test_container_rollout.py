"""Trajectories in containers: a DAgger iteration, and a container that dies in the middle of one."""

import asyncio
import json
import subprocess

from container_runtime import DEBIAN, expect_none_left_behind, needs_containers, settings

from turnmix.core.trajectory import StopReason
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.policies.scripted import ScriptedPolicy, call_action, turn_number
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import AggrevateMixture, TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import ContainerSandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from warm_python import run_turnmix

pytestmark = needs_containers


class RememberingSource(MinirepoSource):
    """Knows the sandbox of each attempt."""

    def __init__(self):
        chosen = ContainerSandboxSettings(
            container=settings().model_copy(update={"image": DEBIAN, "cpus": 2.0})
        )
        super().__init__(
            MinirepoSettings(),
            make_sandbox=chosen.make,
            scaffold=ScaffoldSettings(max_turns=40, no_output_seconds=100.0),
        )
        self.environments = []

    def environment(self, task):
        self.environments.append(super().environment(task))
        return self.environments[-1]


def roll_out(source, student, mixture, *, num_tasks, concurrency=8, attempts=3):
    plans = make_plans(source.tasks("train")[:num_tasks], iteration=1, seed=0, cohort_size=1, beta=None)
    return asyncio.run(
        collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=student,
                teacher=source.expert(),
                mixture=mixture,
                label=True,
                concurrency=concurrency,
                attempts=attempts,
                backoff_seconds=0.05,
            )
        )
    )


def killer(source, *, attempts):
    """A student that works, and whose container is killed from outside in its second turn."""

    def act(episode, state):
        if turn_number(state) == 1 and len(source.environments) <= attempts:
            name = source.environments[-1].privileged_view().name
            subprocess.run(["podman", "kill", name], check=True, capture_output=True)
        return call_action("execute_bash", command=f"echo turn {turn_number(state)}")

    return ScriptedPolicy("killer", act)


def test_a_container_killed_in_the_middle_is_tried_again_from_the_start():
    source = RememberingSource()
    student = killer(source, attempts=1)
    (trajectory,) = roll_out(source, student, AggrevateMixture(support=(3, 3)), num_tasks=1)
    assert len(source.environments) == 2
    assert trajectory.attempts == 2
    assert "turn 0" in trajectory.turns[0].observation[0].content
    assert trajectory.stop_reason is StopReason.finished
    assert trajectory.verdict.resolved
    expect_none_left_behind()


def test_a_container_killed_at_every_attempt_is_an_infrastructure_error_and_no_verdict():
    source = RememberingSource()
    student = killer(source, attempts=9)
    (trajectory,) = roll_out(source, student, AggrevateMixture(support=(3, 3)), num_tasks=1, attempts=2)
    assert trajectory.stop_reason is StopReason.infra_error
    assert trajectory.verdict is None
    expect_none_left_behind()


def test_sixty_four_trajectories_at_once_are_all_resolved():
    source = RememberingSource()
    student = ScriptedPolicy("unused", lambda episode, state: call_action("think", thought=""))
    trajectories = roll_out(source, student, TeacherMixture(), num_tasks=64, concurrency=64)
    assert [trajectory.verdict.resolved for trajectory in trajectories] == [True] * 64
    assert {trajectory.attempts for trajectory in trajectories} == {1}
    expect_none_left_behind()


def test_an_iteration_of_dagger_with_the_nano_student(tmp_path):
    overrides = (
        "sandbox.kind=container",
        f"sandbox.container.socket={settings().socket}",
        f"sandbox.container.image={DEBIAN}",
        "sandbox.container.pull=never",
        "iterations=1",
        "rollouts.tasks_per_iteration=6",
        "rollouts.concurrency=6",
        "student.cohort_size=6",
        "learner.epochs=1",
        "evaluation.tasks=2",
        "evaluation.base=false",
    )
    words = ("train", "minirepo_dagger", "--run", "run", *overrides)
    done = run_turnmix(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["is_complete"]
