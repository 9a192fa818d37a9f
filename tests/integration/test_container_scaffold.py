"""A scaffold of the user's own and tasks in containers: its commands run inside of them, or all of it does."""

import asyncio
import json
import os
from types import SimpleNamespace

import pytest
from container_runtime import DEBIAN, make_container, needs_containers, settings

from own_scaffolds import AGENT, PROBE, collected, command
from turnmix.core.errors import SandboxError, UserError
from turnmix.core.trajectory import StopReason
from turnmix.gateway.scaffolds.log import FOLDER
from turnmix.rollout.mixture import TeacherMixture
from turnmix.sandboxes.container.listening import listen_in_container
from turnmix.sandboxes.selection import ContainerSandboxSettings

pytestmark = needs_containers


@pytest.fixture
def agent(tmp_path):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "agent.py").write_text(AGENT)
    (tmp_path / "agent" / "probe.py").write_text(PROBE)
    return str(tmp_path / "agent")


def in_containers(settings_of_scaffold, **options):
    chosen = ContainerSandboxSettings(container=settings().model_copy(update={"image": DEBIAN, "cpus": 2.0}))
    return collected(settings_of_scaffold, make_sandbox=chosen.make, **options)


def test_a_scaffold_outside_solves_a_task_in_a_container(agent):
    outside = command(
        "python3 $TURNMIX_FILES/agent.py", where="outside", files=agent, environment={"OUTSIDE": "1"}
    )
    (only,) = in_containers(outside, num_tasks=1, mixture=TeacherMixture())
    assert (only.stop_reason, only.verdict.resolved) == (StopReason.finished, True)
    assert only.turns[0].observation


def test_inside_a_container_a_scaffold_solves_tasks_and_reaches_its_own_session_and_nothing_else(
    agent, tmp_path, monkeypatch
):
    monkeypatch.setenv("MY_SECRET_TOKEN", "0a1b2c3d4e5f60718293")
    for trajectory in in_containers(command("python3 $TURNMIX_FILES/probe.py", files=agent), logs=tmp_path):
        log = (tmp_path / FOLDER / f"{trajectory.id}.log").read_text()
        said = json.loads(log.splitlines()[0])
        assert (said["own"], said["other"], said["network"]) == (200, 401, False)
        assert said["open"] in (401, 403, 404)
        assert said["finish"] == 403
        assert said["interfaces"] == ["lo"]
        assert "MY_SECRET_TOKEN" not in said["variables"]
        assert "tmx_" not in log
        assert (trajectory.stop_reason, trajectory.verdict.resolved) == (StopReason.finished, True)
        assert {turn.actor for turn in trajectory.turns} == {"student", "teacher"}
        assert all(turn.label is not None for turn in trajectory.turns)
        first = next(turn for turn in trajectory.turns if turn.actor == "student")
        assert "run_tests.py" in first.observation[0].content


def test_a_scaffold_inside_a_container_that_takes_too_long_is_ended_and_what_it_did_is_judged(agent):
    for seconds in (4, 100):  # a busy machine may need longer for the first turn
        late = command("python3 $TURNMIX_FILES/agent.py; sleep 900", files=agent, seconds=seconds)
        (only,) = in_containers(late, num_tasks=1, mixture=TeacherMixture())
        if only.turns:
            break
    assert (only.stop_reason, only.verdict.resolved) == (StopReason.wall_time, False)
    assert only.turns


@pytest.mark.parametrize("process", [os.getpid(), 1 << 30], ids=["another", "none"])
def test_where_a_container_runs_on_another_machine_nothing_is_taken_for_a_way_into_it(process):
    """The number of its process means another one here, or none."""

    async def scenario():
        sandbox = make_container()
        await sandbox.start()
        try:
            engine = SimpleNamespace(address="tcp://elsewhere:2375", api=SimpleNamespace(), call=told)
            engine.api.inspect_container = None
            with pytest.raises(UserError) as refused:
                await listen_in_container(engine, sandbox.name, sandbox.read_file)
            assert "tcp://elsewhere:2375: nothing can listen inside its containers" in str(refused.value)
            assert "set rollouts.scaffold.where to outside" in str(refused.value)
            await sandbox.stop()
            with pytest.raises(SandboxError):
                await sandbox.listen()
        finally:
            await sandbox.stop()

    async def told(*_):
        return {"State": {"Pid": process}}

    asyncio.run(asyncio.wait_for(scenario(), 300))
