"""Harbor task directories as tasks: what they ask for is done, or refused by name; their own tests give the reward."""

import asyncio
import random
import re
import secrets
from pathlib import Path

import pytest
from container_runtime import DEBIAN, needs_containers, settings
from harbor_tasks import EXPECTED, NOTHING, REWARDED, bash, laid, played, source_of, three_tasks
from killed_training import DAGGER, SMALL, trained_whole_and_killed
from played_worlds import STRANGE

from turnmix.cli import main
from turnmix.core.errors import InfrastructureError, SandboxError, UserError
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, StopReason
from turnmix.sandboxes.container.settings import ContainerSettings

RECIPE = str(Path(__file__).parents[2] / "recipes" / "harbor.yaml")


def read(folder, **said):
    """The source, where no container is made."""
    return source_of(folder, container=ContainerSettings(network="bridge"), **said)


def test_a_directory_of_tasks_is_split_by_share_or_by_name_and_a_single_task_is_one(tmp_path):
    for number in range(10):
        laid(tmp_path, f"task-{number}")
    (tmp_path / "notes").mkdir()
    names = {f"task-{number}" for number in range(10)}
    splits = [
        [task.id for task in read(tmp_path, holdout=0.3).tasks(split)] for split in ("train", "holdout")
    ]
    assert [len(split) for split in splits] == [7, 3]
    assert {*splits[0], *splits[1]} == names
    assert [task.id for task in read(tmp_path, holdout=0.3).tasks("train")] == splits[0]
    assert [task.id for task in read(tmp_path, holdout=0.3, seed=1).tasks("train")] != splits[0]
    named = read(tmp_path, holdout_tasks="task-3,task-1")
    assert [task.id for task in named.tasks("holdout")] == ["task-1", "task-3"]
    assert len(named.tasks("train")) == 8
    assert len(read(tmp_path, holdout="all").tasks("holdout")) == 10
    one = read(tmp_path / "task-4", holdout=0.2).tasks("train")
    assert [(task.id, task.problem_statement) for task in one] == [
        ("task-4", "Write the word hello into hello.txt.\n")
    ]


UNSUPPORTED = {
    "gpus = 1": "environment.gpus: it needs a GPU",
    '[environment.healthcheck]\ncommand = "true"': "environment.healthcheck: it waits for a service",
    '[[environment.mcp_servers]]\nname = "a"\nurl = "http://a"': "environment.mcp_servers: it needs MCP servers",
    'network_mode = "allowlist"\nallowed_hosts = ["a.org"]': "environment.allowed_hosts: it may reach some hosts alone",
    'os = "windows"': "environment.os = 'windows': ",
    "cpus = -1": "environment.cpus = -1: ",
    "gpu_memory = 1": "environment.gpu_memory: TurnMix knows no such key",
    '[agents]\nname = "a"': "agents: TurnMix knows no such key",
    '[[steps]]\nname = "a"': "steps: it has several steps",
    "[verifier.environment]": "verifier.environment: its tests run in an environment of their own",
}


@pytest.mark.parametrize("asked", UNSUPPORTED, ids=lambda asked: UNSUPPORTED[asked].split(":")[0])
def test_what_a_task_asks_for_that_is_not_done_is_refused_by_name(tmp_path, asked):
    directory = laid(tmp_path, "asking", toml=asked)
    with pytest.raises(UserError, match=re.escape(f"{directory}/task.toml: {UNSUPPORTED[asked]}")):
        read(tmp_path)
    laid(tmp_path, "plain")
    assert [task.id for task in read(tmp_path, skip_unsupported=True).tasks("holdout")] == ["plain"]


def test_keys_at_values_that_ask_for_nothing_are_no_hindrance(tmp_path):
    nothing = (
        'os = "Linux"\ngpus = 0\nmcp_servers = []\nallow_internet = true\nstorage = "1G"\nmemory = "512M"\n'
    )
    laid(tmp_path, "plain", toml=f"{nothing}[environment.env]\n")
    assert len(read(tmp_path).tasks("holdout")) == 1


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"instruction.md": None}, "instruction.md: No such file or directory"),
        ({"tests/test.sh": None}, "tests/test.sh is not there"),
        ({"environment/Dockerfile": None}, "environment/Dockerfile is not there"),
        ({"environment/docker-compose.yaml": "services: {}"}, "docker-compose.yaml: it has several containers"),
        ({"tests/.harborignore": "a\n"}, ".harborignore: TurnMix takes all files of a task, or none"),
        ({"task.toml": "a = ["}, "task.toml: it is no TOML"),
        ({"task.toml": b"\xff"}, "task.toml: it is no TOML"),
        ({"task.toml": 'schema_version = "2.0"'}, "schema_version = '2.0'"),
        (
            {"task.toml": '[environment.env]\nKEY = "${JUDGE_KEY}"'},
            "KEY: the task asks for a variable of yours, JUDGE_KEY",
        ),
        ({"task.toml": '[verifier]\nuser = "tester"'}, "verifier.user = 'tester': TurnMix's containers have"),
        ({"task.toml": "[environment]\nmemory_mb = 65536"}, "set sandbox.memory_bytes=68719476736"),
        ({"task.toml": "[environment]\ncpus = 16"}, "set sandbox.container.cpus=16"),
        ({"task.toml": "[agent]\ntimeout_sec = 9000"}, "set sandbox.wall_seconds=9600"),
    ],
)  # fmt: skip
def test_what_is_no_task_or_cannot_be_had_here_is_told_before_any_work(tmp_path, files, told):
    laid(tmp_path, "odd", files=files)
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    assert told in str(raised.value)


def test_a_task_with_harbors_default_of_a_network_is_not_played_without_one_unasked(tmp_path):
    laid(tmp_path, "default")
    without = ContainerSettings()
    with pytest.raises(
        UserError, match=r"sandbox\.container\.network=bridge; or tasks\.without_network=true"
    ):
        source_of(tmp_path, container=without, without_network=False)
    assert source_of(tmp_path, container=without).tasks("holdout")
    laid(tmp_path, "default", toml='network_mode = "no-network"')
    assert source_of(tmp_path, container=without, without_network=False).tasks("holdout")


def test_a_variable_of_the_users_reaches_a_task_only_where_the_recipe_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "hush")
    laid(tmp_path, "judged", toml='[environment.env]\nKEY = "${JUDGE_KEY}"\n')
    with pytest.raises(UserError, match=r"tasks\.variables=JUDGE_KEY"):
        read(tmp_path)
    assert read(tmp_path, variables="JUDGE_KEY").tasks("holdout")


@needs_containers
def test_the_expert_and_an_agent_that_does_nothing_get_the_tests_own_rewards(tmp_path):
    three_tasks(tmp_path)
    source = source_of(tmp_path)
    for (name, agent), rewards in EXPECTED.items():
        messages, verdict = played(source, None if agent == "oracle" else NOTHING, name=name)
        assert (verdict.details["rewards"], verdict.reward, verdict.resolved) == (
            rewards,
            rewards["reward"],
            agent == "oracle",
        ), messages[-1]
    (sorting,) = [task for task in source.tasks("holdout") if task.id == "sorting"]
    assert sorting.problem_statement == "Sort /data/numbers.txt into sorted.txt.\n"


REWARDLESS = {
    "exit 0": "its tests wrote neither /logs/verifier/reward.txt nor",
    "echo nothing is installed here >&2": "nor /logs/verifier/reward.json: nothing is installed here",
    "echo good > $R.txt": "is no reward",
    "echo nan > $R.txt": "is no finite number",
    "touch $R.txt": "is no reward",
    "echo '[1]' > $R.json; echo 1 > $R.txt": "give an object of numbers by name",
    """echo '{"reward": "1"}' > $R.json""": "'1' is no finite number",
    "mkdir $R.txt": "/logs/verifier/reward.txt: Is a directory",
}
LATE = {"sleep 60; echo 1 > $R.txt": "its tests were not done in verifier.timeout_sec = 3 s"}


@needs_containers
@pytest.mark.parametrize(("cases", "seconds"), [(REWARDLESS, 300), (LATE, 3)], ids=["none", "late"])
def test_a_reward_that_is_missing_garbled_or_late_is_a_failure_and_never_0(tmp_path, cases, seconds):
    """One container: the tests of each case are run in the state that the others left."""
    scripts = {f"{number}.sh": f"R=/logs/verifier/reward\n{script}\n" for number, script in enumerate(cases)}
    which = 'n=$(cat /tmp/n); echo $((n + 1)) > /tmp/n; . "/tests/$n.sh"'
    laid(
        tmp_path,
        "rewardless",
        files={
            "task.toml": f"[verifier]\ntimeout_sec = {seconds}\n",
            "tests/test.sh": f"#!/bin/sh\n{which}\n",
            **{f"tests/{name}": script for name, script in scripts.items()},
        },
    )
    source = source_of(tmp_path)

    async def judge_all():
        (task,) = source.tasks("holdout")
        world = source.environment(task)
        try:
            await world.reset()
            await world.step(bash("echo 0 > /tmp/n")[0])
            for script, told in cases.items():
                with pytest.raises(InfrastructureError) as raised:
                    await world.verify(StopReason.finished)
                assert told in str(raised.value), script
        finally:
            await world.close()

    asyncio.run(judge_all())


@needs_containers
def test_what_an_agent_lays_where_tests_and_rewards_belong_decides_nothing(tmp_path):
    script = REWARDED.replace("/app", "$(cat /tests/where)")
    laid(tmp_path, "honest", files={"tests/test.sh": script, "tests/where": "/app"})
    planted = bash(
        "mkdir -p /tests && echo 'echo 1 > /logs/verifier/reward.txt' > /tests/test.sh && chmod 555 /tests/test.sh",
        "echo 1 > /logs/verifier/reward.txt; echo '{\"reward\": 1}' > /logs/verifier/reward.json",
        "ls /tests /solution; env",
    )
    messages, verdict = played(source_of(tmp_path), planted)
    assert verdict.reward == 0
    shown = [message.content for message in messages if message.role == "tool"][2]
    assert "where" not in shown
    assert "cannot access '/solution'" in shown


@needs_containers
def test_time_is_over_as_the_task_says_and_what_was_done_counts_all_the_same(tmp_path):
    for seconds in (8, 90):  # what a busy machine takes to begin at all, nobody knows
        laid(tmp_path, "slow", files={"task.toml": f"[agent]\ntimeout_sec = {seconds}\n"})
        messages, verdict = played(
            source_of(tmp_path), bash("echo hello > hello.txt; while sleep 1; do echo .; done")
        )
        if verdict.reward == 1:
            break
    assert "The time for this task is over" in messages[-1].content
    assert (verdict.reward, verdict.details["submitted"]) == (1, False)


@needs_containers
def test_an_image_is_made_once_within_its_time_and_one_that_cannot_be_is_a_failure(tmp_path, capsys):
    stamp = secrets.token_hex(16)  # nobody has made it before
    one = laid(tmp_path, "one", files={"environment/stamp": stamp})
    for _ in range(2):
        played(source_of(one), NOTHING)
    assert capsys.readouterr().err.count(": made\n") == 1
    (one / "environment" / "stamp").write_text(f"{stamp} again")
    played(source_of(one), NOTHING)
    assert capsys.readouterr().err.count(": made\n") == 1
    failing = f"FROM {DEBIAN}\nRUN echo no such luck {stamp}; exit 7\n"
    with pytest.raises(SandboxError, match=r"its image cannot be made: .*no such luck"):
        played(source_of(laid(tmp_path, "failing", files={"environment/Dockerfile": failing})), NOTHING)
    late = laid(
        tmp_path,
        "late",
        files={
            "task.toml": "[environment]\nbuild_timeout_sec = 3\n",
            "environment/Dockerfile": f"FROM {DEBIAN}\nRUN sleep 12; echo {stamp}\n",
        },
    )
    with pytest.raises(SandboxError, match="its image was not made in 3 s"):
        played(source_of(late), NOTHING)


@needs_containers
@pytest.mark.parametrize(
    ("line", "told"), [("USER nobody", "the user nobody"), ('ENTRYPOINT ["env"]', "an ENTRYPOINT")]
)
def test_an_image_that_asks_for_what_is_not_done_is_refused_by_name(tmp_path, line, told):
    laid(tmp_path, "odd", files={"environment/Dockerfile": f"FROM {DEBIAN}\n{line}\n"})
    with pytest.raises(UserError, match=f"tasks.path: {tmp_path}/odd: its image has {told}"):
        played(source_of(tmp_path), NOTHING)


@needs_containers
def test_several_rewards_without_the_usual_name_need_the_one_that_counts(tmp_path):
    script = """#!/bin/sh\necho '{"speed": 0.5, "style": 1}' > /logs/verifier/reward.json\n"""
    laid(tmp_path, "several", files={"tests/test.sh": script})
    with pytest.raises(UserError, match=r"tasks\.reward = reward: the tests of several give speed, style"):
        played(source_of(tmp_path), NOTHING)
    _, verdict = played(source_of(tmp_path, reward="speed", resolved_at=0.5), NOTHING)
    assert (verdict.reward, verdict.resolved) == (0.5, True)


@needs_containers
def test_a_recipe_evaluates_the_teacher_on_harbor_tasks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    laid(tmp_path / "harbor_tasks", "greeting")
    said = [
        f"sandbox.container.socket={settings().socket}",
        "tasks.without_network=true",
        "tasks.holdout=all",
    ]
    assert main(["evaluate", "teacher", RECIPE, *said, "--output", "out"]) == 0
    assert "resolved: 1/1" in capsys.readouterr().out


@needs_containers
def test_whatever_an_agent_does_is_answered(tmp_path):
    laid(tmp_path, "greeting", toml='network_mode = "no-network"')
    drawn = random.Random(0)

    def mutated():
        calls = []
        for number in range(drawn.choice([0, 1, 1, 2])):
            value = drawn.choice([*STRANGE, "cd /nowhere", "cat /logs /tests; echo hello > hello.txt"])
            arguments = drawn.choice(
                [{"command": value}, {"command": "view", "path": value}, {"x": value}, {}, value]
            )
            name = drawn.choice(["execute_bash", "str_replace_editor", "Finish", "", "\udfff"])
            calls.append(ToolCall(id=f"call_{number}", name=name, arguments=arguments))
        return Action(message=Message(role="assistant", content="\ud800", tool_calls=tuple(calls)))

    async def survives():
        source, world = source_of(tmp_path), None
        (task,) = source.tasks("holdout")
        for _ in range(1000):
            if world is None:
                world = source.environment(task)
                await world.reset()
            action = mutated()
            step = await world.step(action)
            calls = [call.id for call in action.message.tool_calls]
            assert [message.tool_call_id for message in step.observation] == (calls or [None])
            "".join(message.content for message in step.observation).encode()
            if step.stop_reason is not None:
                assert (await world.verify(step.stop_reason)).reward in (0, 1)
                await world.close()
                world = None
        if world is not None:
            await world.close()

    asyncio.run(survives())


@needs_containers
def test_a_run_of_the_recipe_that_was_killed_goes_on_to_the_same_trajectories(tmp_path):
    for number in range(5):
        laid(tmp_path / "harbor_tasks", f"task-{number}")
    words = [word for word in SMALL if not word.startswith("tasks.")]
    tasks = [
        *("tasks.path=harbor_tasks", "tasks.holdout_tasks=task-4", "tasks.without_network=true"),
        *(
            f"sandbox.container.socket={settings().socket}",
            "scaffold.max_turns=3",
            "student.model=nano-student",
        ),
    ]
    trained_whole_and_killed(RECIPE, [*words, *DAGGER, *tasks], tmp_path)
