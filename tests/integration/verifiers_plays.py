"""Plays the tests' taskset by TurnMix and by verifiers itself, with the same answers; prints what came of it as JSON.
Run by a Python that has verifiers and TurnMix; `uv` in its PATH gives verifiers' own harness this Python."""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from played_worlds import STRANGE

from turnmix.core.errors import TurnMixError
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, StopReason
from turnmix.environments.verifiers.source import VerifiersSettings
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import call_action, text_action

NAME = "turnmix_test_taskset"
TURNS = 50
KEY, KEY_VARIABLE = "open sesame", "TURNMIX_TEST_JUDGE_KEY"
SCRIPTS = [
    [call_action("hints_compare", number=5), call_action("hints_compare", number="x"), text_action("12")],
    [call_action("nothing"), text_action("I give up")],
    [call_action("hints_compare", number=5)] * 3,
]


def finder(data):
    """Knows the task's answer: compares it, and says it."""
    return lambda messages: (
        str(data["wanted"]) if len(messages) > 2 else ("hints_compare", {"number": data["wanted"]})
    )


def knower(data):
    """Says the answer at once."""
    return lambda messages: str(data["wanted"])


def source(**settings):
    return VerifiersSettings(environment=NAME, **{"holdout": 2, "max_turns": 3, **settings}).make(None)


def without_tools(*, task=None, **settings):
    """Starts no program of its own for each rollout."""
    return source(arguments={"number": 12, "has_tools": False, "task": task or {}}, **settings)


async def play(worlds, script, *, place=0):
    task = worlds.tasks("train")[place]
    world, turns = worlds.environment(task), iter(script)
    expert = worlds.expert()
    session = expert and expert.begin(Episode(trajectory_id="t", task=task, seed=0, inspectable=world))
    try:
        state = await world.reset()
        messages, stop = list(state.messages), None
        while stop is None:
            action = await session.act(state) if session else next(turns, None)
            if action is None:
                stop = StopReason.max_tokens
                break
            step = await world.step(action)
            messages += [action.message, *step.observation]
            stop = step.stop_reason
        verdict = await world.verify(stop)
        return [[each.role, each.content] for each in messages], stop.value, verdict.to_json()
    except TurnMixError as error:
        return str(error)
    finally:
        await world.close()


async def mutated(worlds, seed):
    """A rollout of turns that no tool wants, mostly; its last observations."""
    drawn, stop = random.Random(seed), None
    world = worlds.environment(worlds.tasks("train")[0])
    await world.reset()
    while stop is None:
        calls = []
        for index in range(drawn.choice([1, 1, 2])):
            value = drawn.choice(STRANGE)
            arguments = drawn.choice([{"number": value}, {"x": value}, {}, value])
            name = drawn.choice(["hints_compare", "hints_compare", "", "\udfff"])
            calls.append(ToolCall(id=f"call_{index}", name=name, arguments=arguments))
        content = drawn.choice(["", "\ud800"])
        step = await world.step(
            Action(message=Message(role="assistant", content=content, tool_calls=tuple(calls)))
        )
        "".join(each.content for each in step.observation).encode()
        assert [each.tool_call_id for each in step.observation] == [call.id for call in calls]
        stop = step.stop_reason
    verdict = await world.verify(stop)
    await world.close()
    return verdict.reward


async def mutations(worlds):
    """Twenty at once are a thousand turns, where tests may take long."""
    number = 20 if os.environ.get("TURNMIX_LONG_TESTS") else 2
    return await asyncio.gather(*(mutated(worlds, seed) for seed in range(number)))


async def resolved(worlds):
    """Which of its tasks the expert resolves, all at once."""
    places = range(len(worlds.tasks("train")))
    plays = await asyncio.gather(*(play(worlds, [], place=place) for place in places))
    return [verdict["resolved"] for _, _, verdict in plays]


async def judged():
    """What verifiers' own judge makes of the right answer, by how its endpoint is."""
    from aiohttp import web

    async def answer(request):
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        said = request.match_info["said"]
        if said == "nothing":
            await asyncio.sleep(60)
        message = {"role": "assistant", "content": said}
        return web.json_response(
            {
                **{"id": "judge", "object": "chat.completion", "created": 0, "model": "judge"},
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            }
        )

    application = web.Application()
    application.router.add_post("/{said}/v1/chat/completions", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here = f"http://127.0.0.1:{runner.addresses[0][1]}"
    os.environ[KEY_VARIABLE] = KEY
    asked = {
        "yes": (f"{here}/yes/v1", KEY_VARIABLE),
        "no": (f"{here}/no/v1", KEY_VARIABLE),
        "without a verdict": (f"{here}/perhaps/v1", KEY_VARIABLE),
        "silent": (f"{here}/nothing/v1", KEY_VARIABLE),
        "without a key": (f"{here}/yes/v1", "TURNMIX_TEST_NO_KEY"),
        "gone": ("http://127.0.0.1:9/v1", KEY_VARIABLE),
    }

    def asking(said, url, key):
        judge = {"id": "reference", "answer_field": "wanted", "base_url": url, "api_key_var": key}
        return without_tools(task={"judges": [judge]}, scoring_seconds=1 if said == "silent" else 300)

    plays = await asyncio.gather(
        *(play(asking(said, *each), [text_action("12")]) for said, each in asked.items())
    )
    await runner.cleanup()
    return dict(zip(asked, plays))


async def by_itself(scripts):
    """The rewards that verifiers gives with its own harness, the model being a server that answers by script."""
    from aiohttp import web
    from verifiers.v1.clients import EvalClientConfig, ModelContext
    from verifiers.v1.env import RunSlot
    from verifiers.v1.utils.loaders import load_environment, resolve_env_config

    async def answer(request):
        body = await request.json()
        script = scripts[int(request.match_info["script"])]
        message = script[sum(each["role"] == "assistant" for each in body["messages"])].message.to_json()
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
        choice = {
            "index": 0,
            "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
            "message": message,
        }
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        head = {"id": "scripted", "created": 0, "model": "scripted", "usage": usage}
        if not body.get("stream"):
            return web.json_response({**head, "object": "chat.completion", "choices": [choice]})
        for place, call in enumerate(message.get("tool_calls", ())):
            call["index"] = place
        chunk = {
            **head,
            "object": "chat.completion.chunk",
            "choices": [{**choice, "delta": choice.pop("message")}],
        }
        text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        return web.Response(text=text, content_type="text/event-stream")

    application = web.Application()
    application.router.add_post("/{script}/v1/chat/completions", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    agent = {"harness": {"id": "null"}, "runtime": {"type": "subprocess"}, "max_turns": 3}
    environment = load_environment(resolve_env_config({"taskset": {"id": NAME}, "agent": agent}))
    task = next(iter(environment.taskset))
    found = []
    async with environment.serving():
        for number in range(len(scripts)):
            client = EvalClientConfig(base_url=f"http://127.0.0.1:{port}/{number}/v1", api_key_var="NO_KEY")
            episode = await environment.run_slot(RunSlot(task), ModelContext(model="scripted", client=client))
            trace = episode.traces[0]
            errors = [str(error.message) for error in trace.errors]
            found.append([trace.reward, trace.stop_condition, [*errors, *map(str, episode.errors)]])
    await runner.cleanup()
    return found


async def main():
    sys.modules["verifiers_plays"] = sys.modules["__main__"]
    worlds = source()
    # A rollout with tools starts a program of verifiers'.
    return {
        "tasks": [[task.id for task in worlds.tasks(split)] for split in ("train", "holdout")],
        "ours": [await play(worlds, script) for script in SCRIPTS],
        "again": [await play(source(), SCRIPTS[0])],
        "stopped": await play(worlds, SCRIPTS[0][:1]),
        "expert": await play(source(expert="verifiers_plays:finder"), []),
        "resolved": await resolved(without_tools(expert="verifiers_plays:knower")),
        "judged": await judged(),
        "broken": await play(source(arguments={"task": {"breaks": True}}), [text_action("12")]),
        "mutated": await mutations(source(max_turns=TURNS)),
        "theirs": await by_itself(SCRIPTS),
    }


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        uv = Path(folder, "uv")
        uv.write_text(f"#!/bin/sh\n[ \"$1\" = python ] && echo '{sys.executable}'\nexit 0\n")
        uv.chmod(0o755)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        print(json.dumps(asyncio.run(main())))
