"""Scaffolds in a few lines, and the sessions that they talk to: policies that say what turn it is."""

import asyncio

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.gateway.model_request import ModelRequest
from turnmix.gateway.session.session import Session, SessionParts
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rollout.plan import RolloutPlan

TOOL = ToolSpecification(name="add", description="Adds.", parameters={"type": "object", "properties": {}})
PLAN = RolloutPlan(
    trajectory_id="i001-00000",
    task=Task(id="count", problem_statement="Count."),
    iteration=1,
    seed=7,
    cohort="i001-cohort-0000",
    beta=0.5,
)


class LetterCounter:
    """A token a letter."""

    def prompt(self, state):
        return sum(len(message.content) for message in state.messages)

    def answer(self, action):
        return len(action.message.content) + 1

    def tokens(self, action):
        return None


def says_where(name):
    """A policy that calls a tool with how many messages it saw and how often it was asked."""
    asked = []

    def script(episode, state):
        asked.append(state)
        return call_action("add", who=name, seen=len(state.messages), asked=len(asked))

    policy = ScriptedPolicy(name, script)
    policy.asked = asked
    return policy


def alternating(turn, state):
    return "student" if turn % 2 == 0 else "teacher"


def student_only(turn, state):
    return "student"


def parts_of(*, actors=alternating, label=True, student=None, teacher=None, **more):
    return SessionParts(
        student=student or says_where("student"),
        teacher=teacher or says_where("teacher"),
        actors=actors,
        label=label,
        count=LetterCounter(),
        **more,
    )


async def resolved():
    return Verdict(resolved=True)


async def end(session, stop_reason=StopReason.finished, verdict=resolved, label_seconds=300, **more):
    return await session.end(stop_reason, verdict, label_seconds=label_seconds, **more)


def user(text):
    return Message(role="user", content=text)


def system(text):
    return Message(role="system", content=text)


def request(*messages, tools=(TOOL,), **more):
    return ModelRequest(model="any", messages=messages, tools=tools, **more)


def told(answer, text):
    """The tool's message that answers the call in `answer`."""
    return Message(role="tool", content=text, tool_call_id=answer.message.tool_calls[0].id)


def run(coroutine):
    """A session that waits for something that never comes fails instead of hanging."""
    return asyncio.run(asyncio.wait_for(coroutine, 300))


def open_session(*, journal=None, **parts):
    return Session(PLAN, parts_of(**parts), journal=journal)
