"""What tests of students behind servers share: checkpoints, a student's own greedy actions, small rollouts."""

import asyncio
import os
import random
import shutil
import signal
from pathlib import Path

import torch

from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.evaluation.evaluator import evaluation_plans, evaluation_request
from turnmix.nano import CHECKPOINT
from turnmix.policies.local.loading import load_renderer, load_student
from turnmix.policies.local.policy import LocalPolicy
from turnmix.policies.policy import Episode
from turnmix.policies.server.engine import Weights
from turnmix.policies.server.settings import ServerSettings
from turnmix.policies.server.student_server import StudentServer
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.rollout.collector import collect
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

STUDENT = StudentSettings(model=str(CHECKPOINT), max_new_tokens=48)
BASE = Weights(location=str(CHECKPOINT), base=str(CHECKPOINT))
NUM_TASKS = 3


def perturbed(directory, *, seed=0, scale=0.05):
    """A checkpoint that differs from the shipped one in every matrix."""
    model, tokenizer, _ = load_student(STUDENT)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter += scale * parameter.std() * noise
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return Weights(location=str(directory), base=str(CHECKPOINT))


def student_server(engine, *, student=STUDENT, own_logprobs=None, trial=None, **settings):
    tokenizer, renderer = load_renderer(CHECKPOINT)
    given = {"backoff_seconds": 0.2, "max_backoff_seconds": 1.0, "start_timeout_seconds": 300.0, **settings}
    return StudentServer(
        ServerSettings(engine=engine.name, **given),
        engine,
        student=student,
        renderer=renderer,
        tokenizer=tokenizer,
        model_context=8192,
        needed_context=4096,
        generator=random.Random(0),
        own_logprobs=own_logprobs,
        trial=trial,
    )


def rolled_out(policy, *, turns=4, attempts=1, on_turn=None):
    """Greedy rollouts of the first holdout tasks by `policy`, which is closed."""
    source = MinirepoSource(
        MinirepoSettings(),
        make_sandbox=BubblewrapSettings().make,
        scaffold=ScaffoldSettings(max_turns=turns, max_tokens=4096),
    )
    plans = evaluation_plans(source.tasks("holdout")[:NUM_TASKS], iteration=0, seed=1, cohort_size=NUM_TASKS)
    found = []

    async def run():
        try:
            asked = evaluation_request(
                policy,
                plans=plans,
                source=source,
                concurrency=NUM_TASKS,
                attempts=attempts,
                on_trajectory=found.append,
            )
            await collect(asked)
        finally:
            await policy.close()

    asyncio.run(run())
    return found


def visited(trajectories):
    """Each state and the action taken in it, as whoever reads messages alone sees them."""
    return [
        (_without_tokens(trajectory.state(index)), turn.action)
        for trajectory in trajectories
        for index, turn in enumerate(trajectory.turns)
    ]


def own_actions(location, states):
    """What the student of a checkpoint, in this process, does greedily in each state."""
    model, _, renderer = load_student(STUDENT, source=location)
    policy = LocalPolicy(model, renderer, STUDENT, greedy=True)

    async def act_in(number, state):
        session = policy.begin(Episode(trajectory_id=str(number), task=None, seed=0))
        try:
            return await session.act(state)
        finally:
            await session.close()

    async def run():
        try:
            return [await act_in(number, state) for number, state in enumerate(states)]
        finally:
            await policy.close()

    return asyncio.run(run())


class Killing:
    """A policy whose server dies, as when memory runs out, before one of its actions."""

    name = "student"

    def __init__(self, server, policy, *, after):
        self._server = server
        self._policy = policy
        self._left = after
        self.has_killed = False

    def begin(self, episode):
        return KillingSession(self, self._policy.begin(episode))

    def count(self):
        self._left -= 1
        if self._left == 0:
            watchdog = self._server._started.pid
            children = Path(f"/proc/{watchdog}/task/{watchdog}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
            self.has_killed = True

    async def close(self):
        await self._policy.close()


class KillingSession:
    def __init__(self, policy, session):
        self._policy = policy
        self._session = session
        self.look = session.look
        self.close = session.close

    async def act(self, state):
        self._policy.count()
        return await self._session.act(state)


def _without_tokens(state):
    return State(
        messages=tuple(Message.from_json(message.to_json()) for message in state.messages), tools=state.tools
    )


def has_sandbox():
    return shutil.which("bwrap") is not None
