"""Plays in text worlds without a model, for tests."""

import asyncio
import random

from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import call_action

STRANGE = [
    None,
    7,
    [],
    {},
    "",
    " ",
    "go forward " * 900,
    "\ud800",
    "\x00",
    "DONE",
    ["drop"],
    {"action": 1},
    2.5e300,
]


def acts_of(state):
    return state.tools[0].parameters["properties"]["action"].get("enum", ["look"])


async def play(source, task, chooses=None):
    """The messages, the stop reason and the verdict of a play. `chooses`: takes the expert's action and the state, and
    may return an action in its place."""
    world = source.environment(task)
    expert = source.expert()
    session = expert and expert.begin(Episode(trajectory_id="t", task=task, seed=0, inspectable=world))
    try:
        state = await world.reset()
        while True:
            action = await session.act(state) if session else None
            action = (chooses and chooses(action, state)) or action
            step = await world.step(action)
            state = type(state)(
                messages=(*state.messages, action.message, *step.observation), tools=state.tools
            )
            if step.stop_reason is not None:
                return state.messages, step.stop_reason, await world.verify(step.stop_reason)
    finally:
        await world.close()


def played(source, tasks, chooses=None):
    return [asyncio.run(play(source, task, chooses)) for task in tasks]


def mistaken(seed, share=0.3):
    """Does something else in so many turns."""
    drawn = random.Random(seed)

    def choose(action, state):
        acts = [act for act in acts_of(state) if act != "done"]
        return call_action("act", action=drawn.choice(acts)) if drawn.random() < share else action

    return choose


def mutated(drawn, acts):
    """An action as no world wants it, mostly."""
    calls = []
    for number in range(drawn.choice([0, 1, 1, 1, 2, 3])):
        value = drawn.choice([*STRANGE, *acts])
        arguments = drawn.choice([{"action": value}, {"action": value, "x": 1}, {"act": value}, {}, value])
        name = drawn.choice(["act", "act", "act", "Act", "", "finish", "\udfff"])
        calls.append(ToolCall(id=f"call_{number}", name=name, arguments=arguments))
    message = Message(role="assistant", content=drawn.choice(["", "\ud800", "hm"]), tool_calls=tuple(calls))
    return Action(message=message, parse_error=drawn.choice([None, None, "no JSON"]))


async def survives_mutated_actions(source, number=1000):
    """Every call is answered, by its id, whatever it is."""
    drawn, tasks, world, state = random.Random(0), iter(source.tasks("train")), None, None
    for _ in range(number):
        if world is None:
            world = source.environment(next(tasks))
            state = await world.reset()
        action = mutated(drawn, acts_of(state))
        step = await world.step(action)
        answered = [message.tool_call_id for message in step.observation]
        assert answered == ([call.id for call in action.message.tool_calls] or [None])
        "".join(message.content for message in step.observation).encode()
        if step.stop_reason is not None:
            await world.verify(step.stop_reason)
            await world.close()
            world = None
    if world is not None:
        await world.close()
