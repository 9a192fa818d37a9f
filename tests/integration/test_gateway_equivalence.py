"""The same scaffold logic, seeds and policies make the same trajectories natively and by HTTP, in each dialect,
streamed and not: turns, actors, labels and token ids. The scaffold here speaks plain JSON and server-sent events, by
hand."""

import asyncio
import json
import random
from dataclasses import replace

import httpx

from turnmix.core.json_text import json_value
from turnmix.core.message import Message, ToolCall
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Action
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.gateway.serving.gateway_server import GatewayServer
from turnmix.gateway.serving.server import Gateway
from turnmix.gateway.serving.sessions import SessionBook
from turnmix.gateway.session.session import Session, SessionParts
from turnmix.gateway.session.tokens import RoughTokenCounter
from turnmix.nano import CHECKPOINT
from turnmix.policies.local.loading import load_student
from turnmix.policies.local.policy import LocalPolicy
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import DaggerMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

STUDENT = StudentSettings(model=str(CHECKPOINT), max_new_tokens=48, temperature=1.0)
MIXTURE = DaggerMixture(decay=0.5, floor=0.5)


class ByText:
    """An environment that knows of an action what stands in its message, as a scaffold behind a gateway does."""

    def __init__(self, environment):
        self._environment = environment
        self.reset, self.verify, self.close = environment.reset, environment.verify, environment.close
        self.privileged_view = environment.privileged_view

    async def step(self, action):
        return await self._environment.step(Action(message=action.message))


class ByTextSource(MinirepoSource):
    def environment(self, task):
        return ByText(super().environment(task))


def chat(messages, tools):
    return "/v1/chat/completions", {
        "model": "m",
        "messages": [chat_message(message) for message in messages],
        "tools": [tool.to_json() for tool in tools],
    }


def arguments_of(call):
    return json.dumps(call.arguments)


def chat_message(message):
    data = {"role": message.role, "content": message.content}
    if message.tool_calls:
        data["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        data["tool_call_id"] = message.tool_call_id
    return data


def of_chat(body):
    message = body["choices"][0]["message"]
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or []]
    return message.get("content"), [(number, each["name"], each["arguments"]) for number, each in calls]


def of_chat_stream(events):
    text, calls = "", {}
    for event in events:
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            for part in choice["delta"].get("tool_calls") or []:
                call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] += part.get("id") or ""
                for key, value in part.get("function", {}).items():
                    call[key] += value or ""
    return text, [tuple(call.values()) for call in calls.values()]


def responses(messages, tools):
    items = []
    for message in messages:
        if message.role == "tool":
            items.append(
                {"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}
            )
            continue
        if message.content or not message.tool_calls:
            items.append({"role": message.role, "content": message.content})
        items += [
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": json.dumps(call.arguments),
            }
            for call in message.tool_calls
        ]
    offered = [{"type": "function", "strict": False, **tool.to_json()["function"]} for tool in tools]
    return "/v1/responses", {"model": "m", "input": items, "tools": offered, "store": False}


def of_responses(body):
    parts = [item for item in body["output"] if item["type"] == "message"]
    text = "".join(part["text"] for item in parts for part in item["content"])
    calls = [item for item in body["output"] if item["type"] == "function_call"]
    return text, [(call["call_id"], call["name"], call["arguments"]) for call in calls]


def of_responses_stream(events):
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    calls = [
        (item["call_id"], item["name"], item["arguments"]) for item in done if item["type"] == "function_call"
    ]
    return text, calls


def anthropic(messages, tools):
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    turns = []
    for message in messages:
        if message.role == "tool":
            block = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
            if turns and turns[-1]["role"] == "user" and turns[-1]["content"][0]["type"] == "tool_result":
                turns[-1]["content"].append(block)
            else:
                turns.append({"role": "user", "content": [block]})
        elif message.role != "system":
            blocks = [{"type": "text", "text": message.content}] if message.content else []
            blocks += [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in message.tool_calls
            ]
            turns.append({"role": message.role, "content": blocks})
    offered = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        for tool in tools
    ]
    body = {"model": "m", "max_tokens": 100, "messages": turns, "tools": offered}
    return "/v1/messages", {**body, **({"system": system} if system else {})}


def of_anthropic(body):
    text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
    calls = [block for block in body["content"] if block["type"] == "tool_use"]
    return text, [(call["id"], call["name"], json.dumps(call["input"])) for call in calls]


def of_anthropic_stream(events):
    text, calls = "", {}
    for event in events:
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
            calls[event["index"]] = [event["content_block"]["id"], event["content_block"]["name"], ""]
        elif event["type"] == "content_block_delta":
            text += event["delta"].get("text", "")
            if "partial_json" in event["delta"]:
                calls[event["index"]][2] += event["delta"]["partial_json"]
    return text, [(number, name, arguments or "{}") for number, name, arguments in calls.values()]


DIALECTS = {
    "chat": (chat, of_chat, of_chat_stream),
    "responses": (responses, of_responses, of_responses_stream),
    "messages": (anthropic, of_anthropic, of_anthropic_stream),
}


async def asked(client, base, key, dialect, messages, tools, *, is_streamed):
    write, read, read_stream = DIALECTS[dialect]
    path, body = write(messages, tools)
    answer = await client.post(
        f"{base}{path}",
        json={**body, "stream": is_streamed},
        headers={"Authorization": f"Bearer {key}"},
        timeout=600,
    )
    assert answer.status_code == 200, answer.text
    if is_streamed:
        lines = [
            line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")
        ]
        text, calls = read_stream([json_value(line) for line in lines if line != "[DONE]"])
    else:
        text, calls = read(answer.json())
    calls = [ToolCall(id=number, name=name, arguments=json_value(given)) for number, name, given in calls]
    return Message(role="assistant", content=text or "", tool_calls=tuple(calls))


async def driven(client, plan, session, environment, book, dialect, *, is_streamed):
    """A scaffold that drives the environment itself, and asks by HTTP for each action."""
    opened = book.hold(session, id=f"{plan.trajectory_id}-{dialect}-{is_streamed}")
    state = await environment.reset()
    history, stop_reason = list(state.messages), None
    while stop_reason is None:
        message = await asked(
            client, opened.session_url, opened.key, dialect, history, state.tools, is_streamed=is_streamed
        )
        step = await environment.step(Action(message=message))
        history += [message, *step.observation]
        stop_reason = step.stop_reason
    trajectory = await session.end(stop_reason, lambda: environment.verify(stop_reason), label_seconds=600)
    await environment.close()
    return trajectory


def comparable(trajectory):
    """Everything but seconds, and but what the last action led to: a scaffold tells the gateway of it no more."""
    turns = [replace(turn, seconds={}) for turn in trajectory.turns]
    return replace(trajectory, turns=(*turns[:-1], replace(turns[-1], observation=())))


def token_ids(trajectory):
    return [
        (turn.action.token_ids, turn.action.logprobs, message.token_ids)
        for number, turn in enumerate(trajectory.turns)
        for message in trajectory.state(number).messages
    ]


def test_through_each_dialect_streamed_or_not_the_trajectories_are_the_native_ones():
    model, _, renderer = load_student(STUDENT)
    scaffold = ScaffoldSettings(max_turns=4, no_output_seconds=60.0)
    source = ByTextSource(MinirepoSettings(), make_sandbox=BubblewrapSettings().make, scaffold=scaffold)
    plans = make_plans(source.tasks("train")[:2], iteration=2, seed=3, cohort_size=2, beta=MIXTURE.beta(2))
    student = LocalPolicy(model, renderer, STUDENT, greedy=False)
    oracle = OraclePolicy(source.solution)

    def parts(plan, environment):
        return SessionParts(
            student=student,
            teacher=oracle,
            actors=MIXTURE.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))),
            label=True,
            count=RoughTokenCounter(),
            inspectable=environment,
        )

    async def scenario():
        native = await collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=student,
                teacher=oracle,
                mixture=MIXTURE,
                label=True,
                concurrency=2,
            )
        )
        book, by_wire = SessionBook(), {}
        async with GatewayServer(Gateway(book)), httpx.AsyncClient(trust_env=False) as client:
            for dialect in DIALECTS:
                for is_streamed in (False, True):
                    environments = [source.environment(plan.task) for plan in plans]
                    sessions = [
                        Session(plan, parts(plan, environment))
                        for plan, environment in zip(plans, environments, strict=True)
                    ]
                    by_wire[dialect, is_streamed] = await asyncio.gather(
                        *(
                            driven(client, *each, book, dialect, is_streamed=is_streamed)
                            for each in zip(plans, sessions, environments, strict=True)
                        )
                    )
            await book.close()
        await student.close()
        await oracle.close()
        return native, by_wire

    native, by_wire = asyncio.run(asyncio.wait_for(scenario(), 600))
    assert {turn.actor for trajectory in native for turn in trajectory.turns} == {"student", "teacher"}
    assert all(turn.label is not None for trajectory in native for turn in trajectory.turns)
    assert len(by_wire) == 6
    for trajectories in by_wire.values():
        assert list(map(comparable, trajectories)) == list(map(comparable, native))
        assert list(map(token_ids, trajectories)) == list(map(token_ids, native))
        assert [trajectory.usage for trajectory in trajectories] == [
            trajectory.usage for trajectory in native
        ]
