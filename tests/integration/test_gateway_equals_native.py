"""The same scaffold logic, seeds and policies make the same trajectories through the gateway and natively."""

import asyncio
import random
from dataclasses import replace

import pytest

from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Action
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.gateway.model_request import ModelRequest
from turnmix.gateway.session.session import Session, SessionParts
from turnmix.nano import CHECKPOINT
from turnmix.policies.local.loading import load_student
from turnmix.policies.local.policy import LocalPolicy
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import AggrevateMixture, DaggerMixture, StudentMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

STUDENT = StudentSettings(model=str(CHECKPOINT), max_new_tokens=48, temperature=1.0)


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


class RendererCounter:
    def __init__(self, renderer):
        self._renderer = renderer

    def prompt(self, state):
        return len(self._renderer.prompt_ids(state))

    def answer(self, action):
        return len(action.message.content)

    def tokens(self, action):
        return None


@pytest.fixture(scope="module")
def loaded():
    model, _, renderer = load_student(STUDENT)
    return model, renderer


async def through_gateway(plan, session, environment):
    """A scaffold that drives the environment itself, and asks the session for each action."""
    state = await environment.reset()
    history, stop_reason = list(state.messages), None
    while stop_reason is None:
        answer = await session.answer(ModelRequest(model="m", messages=tuple(history), tools=state.tools))
        step = await environment.step(Action(message=answer.message))
        history += [answer.message, *step.observation]
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


@pytest.mark.parametrize(
    ("mixture", "label"),
    [
        (DaggerMixture(decay=0.5, floor=0.5), True),
        (AggrevateMixture(support=(1, 4)), True),
        (StudentMixture(), False),
    ],
    ids=["DAgger", "AggreVaTe", "the student alone"],
)
def test_a_cohort_through_the_gateway_is_the_native_one(loaded, mixture, label):
    model, renderer = loaded
    scaffold = ScaffoldSettings(max_turns=6, no_output_seconds=60.0)
    source = ByTextSource(MinirepoSettings(), make_sandbox=BubblewrapSettings().make, scaffold=scaffold)
    plans = make_plans(source.tasks("train")[:2], iteration=2, seed=3, cohort_size=2, beta=mixture.beta(2))

    async def scenario():
        oracle = OraclePolicy(source.solution)
        student = LocalPolicy(model, renderer, STUDENT, greedy=False)
        native = await collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=student,
                teacher=oracle,
                mixture=mixture,
                label=label,
                concurrency=2,
            )
        )
        environments = [source.environment(plan.task) for plan in plans]
        sessions = [
            Session(
                plan,
                SessionParts(
                    student=student,
                    teacher=oracle,
                    actors=mixture.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture"))),
                    label=label,
                    count=RendererCounter(renderer),
                    inspectable=environment,
                ),
            )
            for plan, environment in zip(plans, environments, strict=True)
        ]
        driven = await asyncio.gather(*map(through_gateway, plans, sessions, environments))
        await student.close()
        await oracle.close()
        return native, driven

    native, driven = asyncio.run(asyncio.wait_for(scenario(), 600))
    assert sum(len(trajectory.turns) for trajectory in native) > 4
    for expected, trajectory in zip(native, driven, strict=True):
        assert comparable(trajectory) == comparable(expected)
        assert token_ids(trajectory) == token_ids(expected)
        assert trajectory.usage == expected.usage
        executed = [turn.label is turn.action for turn in expected.turns]
        assert [turn.label is turn.action for turn in trajectory.turns] == executed
