"""Scaffolds of the user's own roll tasks out: commands in the task's sandbox and outside of it, and functions."""

import asyncio
import json
import os
import time

import pytest

from own_scaffolds import AGENT, ASK, PROBE, collected, command
from turnmix.core.errors import PluginError, UserError
from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.gateway.scaffolds.command import run_watched
from turnmix.gateway.scaffolds.log import FOLDER
from turnmix.gateway.scaffolds.settings import FunctionSettings
from turnmix.policies.scripted import text_action
from turnmix.rollout.mixture import StudentMixture, TeacherMixture


class OwnTasks:
    """Tasks without a world."""

    def tasks(self, split):
        return [Task(id=f"own-{number}", problem_statement=f"Add {number}.") for number in range(2)]

    def environment(self, task):
        raise AssertionError("there is no world")


@pytest.fixture
def agent(tmp_path):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "agent.py").write_text(AGENT)
    (tmp_path / "agent" / "ask.py").write_text(ASK)
    return str(tmp_path / "agent")


@pytest.mark.parametrize("where", ["sandbox", "outside"])
def test_a_plain_script_solves_tasks_with_a_shell_while_student_and_teacher_take_turns(
    where, agent, tmp_path
):
    settings = command(
        "python3 $TURNMIX_FILES/agent.py",
        where=where,
        files=agent,
        environment={"OUTSIDE": "1"} if where == "outside" else {},
    )
    trajectories = collected(settings, logs=tmp_path)
    for trajectory in trajectories:
        assert trajectory.stop_reason is StopReason.finished
        assert trajectory.verdict.resolved
        assert {turn.actor for turn in trajectory.turns} == {"student", "teacher"}
        assert all(turn.label is not None for turn in trajectory.turns)
        assert [tool.name for tool in trajectory.tools] == ["execute_bash", "finish"]
        assert trajectory.prompt[0].role == "user"
        # What the student's `ls` shows is the task's sandbox, wherever the scaffold runs.
        first = next(turn for turn in trajectory.turns if turn.actor == "student")
        assert "run_tests.py" in first.observation[0].content
        assert "$ ls\n" in (tmp_path / FOLDER / f"{trajectory.id}.log").read_text()


def test_inside_a_sandbox_a_scaffold_reaches_its_own_session_and_nothing_else(agent, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SECRET_TOKEN", "0a1b2c3d4e5f60718293")
    with open(f"{agent}/probe.py", "w") as file:
        file.write(PROBE)
    trajectories = collected(command("python3 $TURNMIX_FILES/probe.py", files=agent), logs=tmp_path)
    for trajectory in trajectories:
        log = (tmp_path / FOLDER / f"{trajectory.id}.log").read_text()
        said = json.loads(log.splitlines()[0])
        assert (said["own"], said["other"], said["network"]) == (200, 401, False)
        assert said["open"] in (401, 403, 404)
        assert said["finish"] == 403
        assert "MY_SECRET_TOKEN" not in said["variables"]
        assert said["uid"] == 1000
        assert "tmx_" not in log
        assert trajectory.verdict.resolved  # by the verifier, not by what it sent


def test_a_scaffold_that_fails_is_unresolved_or_an_infra_error_by_the_rule(agent, tmp_path):
    line = "python3 $TURNMIX_FILES/agent.py; echo broken >&2; exit 3"
    failed, _ = collected(command(line, files=agent, seconds=600), mixture=TeacherMixture())
    assert (failed.stop_reason, failed.verdict.resolved) == (StopReason.scaffold_error, False)
    tried = []
    rule = command(line, files=agent, failure="infra_error")
    collected(rule, mixture=TeacherMixture(), attempts=2, keep=tried.append)
    lost, _ = tried
    assert (lost.stop_reason, lost.verdict, lost.attempts) == (StopReason.infra_error, None, 2)
    assert "exit status 3" in lost.error
    assert "broken" in lost.error


def test_a_scaffold_that_takes_too_long_is_ended_with_all_that_it_started(agent, tmp_path):
    pids = tmp_path / "pids"
    line = f"(sleep 300 & echo $! >> {pids}); OUTSIDE=1 python3 $TURNMIX_FILES/agent.py; echo $$ >> {pids}; sleep 300"
    for trajectory in collected(
        command(line, files=agent, where="outside", seconds=8), mixture=TeacherMixture()
    ):
        assert (trajectory.stop_reason, trajectory.verdict.resolved) == (StopReason.wall_time, False)
        assert trajectory.turns
    assert pids.read_text()
    assert not [pid for pid in pids.read_text().split() if os.path.exists(f"/proc/{pid}")]


def test_a_collection_that_is_given_up_leaves_nothing_running(agent, tmp_path):
    pids = tmp_path / "pids"
    line = f"echo $$ >> {pids}; sleep 300 & echo $! >> {pids}; wait"
    settings = command(line, where="outside")
    assert (
        collected(settings, cancelled_once=lambda: pids.exists() and len(pids.read_text().split()) == 4)
        is None
    )
    assert not [pid for pid in pids.read_text().split() if os.path.exists(f"/proc/{pid}")]


def test_a_command_that_is_given_up_while_it_is_being_started_leaves_nothing_running(tmp_path):
    pids = tmp_path / "pids"
    line = f"sleep 300 & echo $! > {pids}.new; mv {pids}.new {pids}; wait"

    async def given_up():
        running = asyncio.ensure_future(
            run_watched(["/bin/sh", "-c", line], directory=tmp_path, environment=os.environ, say=bytes)
        )
        while not pids.exists():  # it is so far before its start has been told to whoever asked for it
            await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251 (nothing else is to happen meanwhile)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(given_up())
    assert not os.path.exists(f"/proc/{pids.read_text().strip()}")


def test_the_recipes_turns_bound_a_scaffold_too(agent):
    settings = command("python3 $TURNMIX_FILES/agent.py", files=agent)
    for trajectory in collected(settings, mixture=StudentMixture(), max_turns=3):
        assert len(trajectory.turns) == 3
        assert (trajectory.stop_reason, trajectory.verdict.resolved) == (StopReason.max_turns, False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo cannot find the model >&2", "cannot find the model"),
        ("no-such-program", "not found"),
        ("python3 $TURNMIX_FILES/ask.py 1", "HTTP Error 400"),
    ],
)
def test_a_scaffold_that_gets_no_answer_ends_the_run_and_what_it_said_is_told(line, said, agent):
    with pytest.raises(UserError) as refused:
        collected(command(line, files=agent, where="outside"))
    first, *further = refused.value.lines
    assert first.startswith("rollouts.scaffold: trajectory i002-0000")
    assert "asked the model nothing that it could answer: it must ask at OPENAI_BASE_URL" in first
    assert said in further[-1]


def test_a_session_of_which_nothing_can_be_learned_ends_the_run(agent):
    """A student that keeps no tokens acts alone, and nobody labels."""
    settings = command("python3 $TURNMIX_FILES/ask.py", files=agent, where="outside")
    said = {"student": lambda *_: text_action("one"), "mixture": StudentMixture(), "label": False}
    with pytest.raises(UserError) as refused:
        collected(settings, **said)
    assert refused.value.lines[0].startswith("rollouts.scaffold: trajectory i002-0000")
    assert "nothing of it can be learned: the student's tokens were not kept" in refused.value.lines[0]
    # An evaluation learns nothing of what it collects.
    assert [len(each.turns) for each in collected(settings, is_taught=False, **said)] == [1, 1]


async def adds(call):
    """A function that is a scaffold."""
    import httpx

    async with httpx.AsyncClient(timeout=600) as client:
        body = {"model": call.model, "messages": [{"role": "user", "content": call.task.problem_statement}]}
        url, headers = f"{call.base_url}/chat/completions", {"Authorization": f"Bearer {call.key}"}
        answer = await client.post(url, json=body, headers=headers)
    call.say(answer.json()["choices"][0]["message"]["content"])
    return {"resolved": True, "reward": 0.5, "details": {"number": 1}}


def waits(call):
    """A plain function, which runs a command in the sandbox."""
    import httpx

    shown = call.run("ls").output.decode()
    body = {"model": call.model, "messages": [{"role": "user", "content": shown}]}
    headers = {"x-api-key": call.key}
    body = {**body, "max_tokens": 9}
    answer = httpx.post(f"{call.anthropic_base_url}/v1/messages", json=body, headers=headers, timeout=600)
    assert answer.status_code == 200, answer.text


async def fails(call):
    raise KeyError("mine")


async def reports_wrongly(call):
    await adds(call)
    return {"resolved": "yes"}


def test_a_function_is_a_scaffold_and_its_return_value_its_report():
    settings = FunctionSettings(kind=f"{__name__}:adds", verdict="report")
    for trajectory in collected(settings, source=OwnTasks(), student=lambda *_: text_action("one")):
        assert trajectory.verdict.to_json() == {"resolved": True, "reward": 0.5, "details": {"number": 1}}
        assert trajectory.prompt == (Message(role="user", content=f"Add {trajectory.task_id[-1]}."),)


def test_a_plain_function_runs_commands_in_the_sandbox():
    settings = FunctionSettings(kind=f"{__name__}:waits")
    for trajectory in collected(settings, student=lambda *_: text_action("one"), mixture=StudentMixture()):
        assert "run_tests.py" in trajectory.prompt[0].content
        assert trajectory.stop_reason is StopReason.finished


@pytest.mark.parametrize(
    ("name", "told"), [("fails", "KeyError: 'mine'"), ("reports_wrongly", "resolved is 'yes'")]
)
def test_a_fault_in_a_function_names_it(name, told):
    settings = FunctionSettings(kind=f"{__name__}:{name}", verdict="report")
    with pytest.raises(PluginError) as fault:
        collected(settings, source=OwnTasks(), student=lambda *_: text_action("one"))
    assert told in str(fault.value)
    assert f"{__name__}:{name}" in str(fault.value)


def test_a_report_that_is_missing_counts_by_the_rule(agent):
    line = "python3 $TURNMIX_FILES/ask.py"
    said = {"source": OwnTasks(), "student": lambda *_: text_action("one")}
    unresolved, _ = collected(command(line, files=agent, verdict="report"), **said)
    assert unresolved.verdict.details == {"submitted": False, "report": "the scaffold left no report"}
    lost, _ = collected(
        command(line, files=agent, verdict="report", failure="infra_error"), attempts=1, **said
    )
    assert (lost.stop_reason, lost.error) == (
        StopReason.infra_error,
        "InfrastructureError: the scaffold left no report",
    )
    wrong, _ = collected(command(f"{line}; echo [] > $TURNMIX_REPORT", files=agent, verdict="report"), **said)
    assert "report: it is []" in wrong.verdict.details["report"]
