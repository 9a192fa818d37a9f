"""Run as a program: the gateway before one model, which is student and teacher. Its port is a line on standard output.

    python gateway_service.py MODEL_URL TOKENIZER DIRECTORY

`POST /sessions` takes who acts in the task's name: `teacher` (an endpoint: messages go on as messages), `student` (a
served one: rendered here, its tokens read here), `both` (each half of the turns), `labelled` (the student, and each of
its states labelled by the teacher). Trajectories are written to a run in the directory.
"""

import asyncio
import itertools
import random
import sys
from pathlib import Path

from synthetic_text import make_renderer
from tokenizers import Tokenizer

from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.gateway.serving.gateway_server import GatewayServer
from turnmix.gateway.serving.server import Gateway
from turnmix.gateway.serving.sessions import SessionBook
from turnmix.gateway.session.session_parts import SessionParts
from turnmix.policies.endpoint.policy import EndpointPolicy, EndpointSettings
from turnmix.policies.server.engine import ServerSampling
from turnmix.policies.server.policy import ServerPolicy
from turnmix.policies.server.vllm import VllmEngine
from turnmix.rollout.plan import RolloutPlan
from turnmix.store.run_directory import RunDirectory

ACTORS = {
    "teacher": lambda turn, state: "teacher",
    "student": lambda turn, state: "student",
    "both": lambda turn, state: "student" if turn % 2 else "teacher",
    "labelled": lambda turn, state: "student",
}


class Counter:
    """Tokens of the student's."""

    def __init__(self, renderer):
        self._renderer = renderer

    def prompt(self, state):
        return len(self._renderer.prompt_ids(state))

    def answer(self, action):
        return action.completion_tokens or 1

    def tokens(self, action):
        return None


class Service:
    """Opens sessions, and writes what they come to."""

    def __init__(self, model, renderer, run):
        self.book = SessionBook()
        self._run = run
        self._journals = Path(run.path) / "sessions"
        self._journals.mkdir()
        self._numbers = itertools.count()
        settings = EndpointSettings(
            endpoint=f"{model}/v1", model="model", max_concurrency=4096, timeout_seconds=600.0
        )
        self._teacher = EndpointPolicy(settings, generator=random.Random(0))
        self._student = ServerPolicy(
            settings,
            engine=VllmEngine(dtype="bfloat16", lora_rank=None),
            served_model=lambda: "model",
            renderer=renderer,
            context=None,
            sampling=ServerSampling(
                temperature=1.0, top_p=1.0, greedy=False, stop_ids=tuple(sorted(renderer.stop_ids))
            ),
            generator=random.Random(0),
        )
        self._count = Counter(renderer)

    async def open(self, body, url):
        number, kind = next(self._numbers), body["task"]
        plan = RolloutPlan(
            trajectory_id=f"i001-{number:05}",
            task=Task(id=f"task-{number}", problem_statement=""),
            iteration=1,
            seed=number,
            cohort="",
            beta=None,
        )
        parts = SessionParts(
            student=self._student,
            teacher=self._teacher,
            actors=ACTORS[kind],
            label=kind == "labelled",
            count=self._count,
        )

        async def verdict():
            return Verdict(resolved=True)

        async def finish(told):
            trajectory = await opened.session.end(StopReason.finished, verdict, label_seconds=600)
            await asyncio.to_thread(self._run.trajectories.append, trajectory)
            await self.book.end(plan.trajectory_id)
            return {"turns": len(trajectory.turns), "error": trajectory.error}

        opened = self.book.open(plan, parts, finish=finish, journals=self._journals)
        return {"url": opened.base_url, "session_url": opened.session_url, "key": opened.key}


async def serve(model, tokenizer, directory):
    renderer = make_renderer(Tokenizer.from_file(tokenizer))
    run = RunDirectory.create(Path(directory), recipe_yaml="method: dagger\n")
    service = Service(model, renderer, run)
    gateway = Gateway(service.book, opener=service.open)
    async with GatewayServer(gateway) as server:
        print(server.url.rpartition(":")[2], flush=True)
        await service.book.failed()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
