"""OpenEnv servers as task sources: a real server in a process of its own, played by its own client and by TurnMix; and
servers that are none."""

import asyncio
import inspect
import json
import os
import random
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from killed_training import DAGGER, SMALL, trained_whole_and_killed
from played_worlds import STRANGE, play, played

from turnmix.cli import main
from turnmix.core.errors import InfrastructureError
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, StopReason
from turnmix.environments.environment import TaskParts
from turnmix.environments.worlds.openenv import OpenEnvSettings
from turnmix.policies.scripted import call_action
from turnmix.recipe.recipe import load_recipe
from turnmix.scaffold.scaffold import ScaffoldSettings

websockets_server = pytest.importorskip(
    "websockets.asyncio.server", reason="it needs the extra: pip install 'turnmix[openenv]'"
)
PYTHON = os.environ.get("TURNMIX_OPENENV_PYTHON", "")
needs_openenv = pytest.mark.skipif(
    not PYTHON, reason="TURNMIX_OPENENV_PYTHON names no Python with openenv-core: see scripts/make_openenv.sh"
)
HERE = Path(__file__).parent
RECIPE = str(HERE.parents[1] / "recipes" / "openenv.yaml")
OWN_CLIENT = """
import asyncio, json, sys
from openenv.core.generic_client import GenericEnvClient

async def play(url, seed, actions):
    told = []
    async with GenericEnvClient(base_url=url) as client:
        await client.reset(seed=seed)
        for action in actions:
            step = await client.step(action)
            told.append((step.reward or 0.0, step.done))
    return told

url, plays = json.loads(sys.argv[1])
print(json.dumps([asyncio.run(play(url, *each)) for each in plays]))
"""


def halving(first):
    """Knows the way: halves what is left."""
    bounds = [0, 15]

    def ask(observation):
        middle = sum(bounds) // 2
        if observation["told"] == "higher":
            bounds[0] = middle + 1
        if observation["told"] == "lower":
            bounds[1] = middle - 1
        return "act", {"number": sum(bounds) // 2}

    return ask


def source(url, **settings):
    parts = TaskParts(make_sandbox=None, scaffold=ScaffoldSettings(), seed=0)
    return OpenEnvSettings(url=url, **settings).make(parts)


@pytest.fixture(scope="module")
def server():
    process = subprocess.Popen(
        [PYTHON, HERE / "openenv_server.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


@needs_openenv
def test_a_server_gives_its_own_client_and_turnmix_the_same_rewards(server):
    url = f"{server}/guess"
    worlds = source(url, expert=f"{__name__}:halving")
    tasks = worlds.tasks("train")[:3]
    ours = played(worlds, tasks)
    assert ours == played(source(url, expert=f"{__name__}:halving"), tasks)  # as after a kill
    plays = [
        (task.fields["seed"], [call.arguments for message in messages for call in message.tool_calls])
        for task, (messages, _, _) in zip(tasks, ours)
    ]
    words = [PYTHON, "-c", OWN_CLIENT, json.dumps([url, plays])]
    theirs = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    for (messages, reason, verdict), steps in zip(ours, theirs):
        assert verdict.reward == sum(reward for reward, _ in steps)
        assert (reason, verdict.resolved, steps[-1][1]) == (StopReason.finished, True, True)
        assert messages[1].content == "Guess my number."
        assert messages[-1].content == "right"


@needs_openenv
def test_the_schema_of_a_servers_actions_is_the_tools_and_its_refusal_an_observation(server):
    async def guessed():
        worlds = source(f"{server}/guess", max_turns=2)
        world = worlds.environment(worlds.tasks("train")[0])
        state = await world.reset()
        wrong = await world.step(call_action("act", number="many"))
        last = await world.step(call_action("guess", number=1))
        await world.close()
        return state.tools[0], wrong, last, await world.verify(StopReason.max_turns)

    tool, wrong, last, verdict = asyncio.run(guessed())
    assert tool.description == "Name a number from 0 to 15."
    assert list(tool.parameters["properties"]) == ["number", "note"]
    assert wrong.observation[0].content.startswith("ERROR: number: Input should be a valid integer")
    assert last.observation[0].content == "ERROR: Call one of 'act', with arguments of its schema."
    assert (last.stop_reason, verdict.resolved, verdict.reward) == (StopReason.max_turns, False, 0)


@needs_openenv
def test_mcp_tools_are_the_agents_and_calls_of_one_turn_are_all_answered(server):
    async def added():
        worlds = source(f"{server}/tools", options={"level": 1})
        world = worlds.environment(worlds.tasks("train")[0])
        state = await world.reset()
        drawn = random.Random(worlds.tasks("train")[0].fields["seed"])
        numbers = {"a": drawn.randrange(100), "b": drawn.randrange(100)}
        calls = [
            ("add", numbers),
            ("add", {"a": "x"}),
            ("answer", {"number": sum(numbers.values())}),
            ("add", {}),
        ]
        message = Message(
            role="assistant",
            content="",
            tool_calls=tuple(ToolCall(id=str(i), name=n, arguments=a) for i, (n, a) in enumerate(calls)),
        )
        step = await world.step(Action(message=message))
        verdict = await world.verify(StopReason.finished)
        await world.close()
        return numbers, state.tools, step, verdict

    numbers, tools, step, verdict = asyncio.run(added())
    assert [tool.name for tool in tools] == ["add", "answer"]
    assert list(tools[0].parameters["properties"]) == ["a", "b"]
    told = [message.content for message in step.observation]
    assert told[0] == str(sum(numbers.values()))
    assert told[1].startswith("ERROR: ")
    assert told[2:] == ["noted", "[Not carried out: the trajectory has ended.]"]
    assert (step.stop_reason, verdict.resolved, verdict.reward) == (StopReason.finished, True, 1)


@needs_openenv
def test_whatever_an_agent_does_is_answered(server):
    async def survive():
        worlds, drawn, world = source(f"{server}/guess"), random.Random(0), None
        tasks = iter(worlds.tasks("train"))
        for _ in range(1000):
            if world is None:
                world = worlds.environment(next(tasks))
                await world.reset()
            calls = []
            for number in range(drawn.choice([0, 1, 1, 2])):
                value = drawn.choice([*STRANGE, *range(16)])
                arguments = drawn.choice(
                    [{"number": value}, {"number": 1, "note": value}, {"x": value}, {}, value]
                )
                calls.append(
                    ToolCall(
                        id=f"{number}", name=drawn.choice(["act", "act", "", "\udfff"]), arguments=arguments
                    )
                )
            action = Action(message=Message(role="assistant", content="\ud800", tool_calls=tuple(calls)))
            step = await world.step(action)
            assert [each.tool_call_id for each in step.observation] == ([call.id for call in calls] or [None])
            "".join(each.content for each in step.observation).encode()
            if step.stop_reason is not None:
                await world.verify(step.stop_reason)
                await world.close()
                world = None

    asyncio.run(survive())


@needs_openenv
@pytest.mark.parametrize(
    ("note", "seconds", "said"),
    [("crash", 300, "the dice are gone"), ("sleep", 1.5, r"did not answer within 1\.5 s")],
)
def test_a_server_that_fails_or_is_slow_is_no_verdict(server, note, seconds, said):
    worlds = source(f"{server}/guess", answer_seconds=seconds)
    with pytest.raises(InfrastructureError, match=said):
        played(worlds, worlds.tasks("train")[:1], lambda *_: call_action("act", number=20, note=note))


@needs_openenv
def test_the_recipe_with_an_expert_of_the_users_resolves_its_tasks(server):
    words = [f"tasks.url={server}/guess", f"tasks.expert={__name__}:halving"]
    parts = TaskParts(make_sandbox=None, scaffold=ScaffoldSettings(), seed=0)
    worlds = load_recipe(RECIPE, words).tasks.make(parts)
    plays = played(worlds, worlds.tasks("holdout")[:50])
    assert sum(verdict.resolved for _, _, verdict in plays) == 50


@needs_openenv
def test_a_run_of_the_recipe_that_was_killed_goes_on_to_the_same_trajectories(server, tmp_path):
    (tmp_path / "my_guess.py").write_text(inspect.getsource(halving))
    words = [*SMALL, *DAGGER, f"tasks.url={server}/guess", "tasks.expert=my_guess:halving"]
    trained_whole_and_killed(RECIPE, words, tmp_path)


@needs_openenv
def test_doctor_asks_the_server_and_says_that_it_is_there(server, capsys):
    main(["doctor", RECIPE, f"tasks.url={server}/guess"])
    assert f"ok   tasks: an OpenEnv server answers at {server}/guess" in capsys.readouterr().out


def test_no_server_is_told_before_any_work(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, nobody = (
        [RECIPE, "tasks.url=http://127.0.0.1:9"],
        "tasks.url: http://127.0.0.1:9/schema: no OpenEnv server",
    )
    assert main(["doctor", *words]) == 1
    assert f"FAIL tasks: {nobody} answers there" in capsys.readouterr().out
    assert main(["train", *words]) == 2
    assert f"turnmix: {nobody} answers there" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["train", *words, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("method: grpo")
    assert said.err.startswith(f"note: as things are, nothing would begin: {nobody} answers there")
    assert len(said.err.splitlines()) == 1


def test_no_server_is_an_error_that_says_so():
    worlds = source("http://127.0.0.1:9")
    with pytest.raises(InfrastructureError, match=r"no OpenEnv server answers there .* or mend tasks.url"):
        played(worlds, worlds.tasks("train")[:1])


@asynccontextmanager
async def answering(*answers, schema=b'{"action": {"title": "Guess", "properties": {}}}'):
    """The address of a server that says this, whatever it is asked."""

    async def serve(connection):
        for answer, _ in zip(answers, range(len(answers))):
            await connection.recv()
            await connection.send(answer)
        await connection.close()

    def respond(connection, request):
        if request.path == "/schema":
            response = connection.respond(200, "")
            response.body = schema
            del response.headers["Content-Length"]
            response.headers["Content-Length"] = str(len(schema))
            return response
        return None

    async with websockets_server.serve(serve, "127.0.0.1", 0, process_request=respond) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


FINE = json.dumps(
    {"type": "observation", "data": {"observation": {"told": "go"}, "reward": None, "done": False}}
)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((), "it is gone"),
        ((FINE,), "it is gone"),
        ((FINE, "{"), "its answer is none of OpenEnv's"),
        ((FINE, b"\xff\xfe"), "its answer is none of OpenEnv's"),
        ((FINE, "[]"), "its answer is none of OpenEnv's"),
        ((FINE, '{"type": "state", "data": {}}'), "answered with 'state' where an observation was due"),
        ((FINE, FINE.replace("null", "NaN")), "its answer holds no observation, reward and done"),
        ((FINE, FINE.replace("null", '"much"')), "its answer holds no observation, reward and done"),
        ((FINE, '"' + "x" * 17 * 2**20 + '"'), "it is gone"),
        (
            ('{"type": "error", "data": {"code": "CAPACITY_REACHED", "max_sessions": 1}}',),
            "it takes no more than 1 sessions at once: lower rollouts.concurrency",
        ),
    ],
)
def test_a_server_that_is_gone_or_answers_garbage_is_no_verdict(answers, said):
    async def played_there():
        async with answering(*answers) as url:
            worlds = source(url)
            await play(worlds, worlds.tasks("train")[0], lambda *_: call_action("act"))

    with pytest.raises(InfrastructureError, match=said):
        asyncio.run(played_there())


@pytest.mark.parametrize("schema", [b"<html>", b'{"action": 3}', b"[]", b" " * 17 * 2**20])
def test_a_server_that_tells_no_schema_is_none(schema):
    async def played_there():
        async with answering(FINE, schema=schema) as url:
            worlds = source(url)
            await play(worlds, worlds.tasks("train")[0])

    with pytest.raises(InfrastructureError, match=r"tells no schema of actions|is longer than"):
        asyncio.run(played_there())
