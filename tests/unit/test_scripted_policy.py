"""The scripted policy plays what it was given, turn by turn."""

import asyncio

import pytest

from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.core.trajectory import State
from turnmix.policies.policy import Episode, Policy
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action


def episode(task_id="a"):
    task = Task(id=task_id, problem_statement="")
    return Episode(trajectory_id="t", task=task, seed=0)


def state_after(actions):
    messages = [Message(role="user", content="fix it")]
    for action in actions:
        messages += [action.message, Message(role="user", content="go on")]
    return State(messages=tuple(messages), tools=())


def act(policy: Policy, state, task_id="a"):
    return asyncio.run(policy.begin(episode(task_id)).act(state))


def test_each_turn_plays_its_action_and_the_last_one_is_repeated():
    actions = [call_action("think", thought="hm"), text_action("done")]
    policy = ScriptedPolicy.of_actions("student", actions)
    played = [act(policy, state_after([actions[0]] * turn)) for turn in range(4)]
    assert played == [actions[0], actions[1], actions[1], actions[1]]


def test_a_script_sees_the_episode_and_the_state():
    policy = ScriptedPolicy("echo", lambda e, s: text_action(f"{e.task.id} {s.messages[-1].content}"))
    assert act(policy, state_after([])).message.content == "a fix it"


def test_latency_is_spent_in_the_injected_sleep():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    act(ScriptedPolicy.of_actions("slow", [text_action("x")], latency=2.5, sleep=sleep), state_after([]))
    assert slept == [2.5]


def test_a_tool_argument_may_be_named_tool():
    assert call_action("think", tool="x").message.tool_calls[0].arguments == {"tool": "x"}


def test_no_actions_are_refused_at_once():
    with pytest.raises(ValueError, match="'student' was given no actions"):
        ScriptedPolicy.of_actions("student", [])
