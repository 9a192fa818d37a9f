"""Run as a program: a gateway whose sessions are on disk. Its port is a line on standard output.

    python gateway_program.py MODEL_URL DIRECTORY [PORT]

Student and teacher are one endpoint's models of these names, and act by turns; each of the student's states is
labelled, after as many attempts as a busy machine may need. What a session comes to is written to a run in the
directory. Started again there, it goes on with all of its sessions.
"""

import asyncio
import random
import sys
from pathlib import Path

from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.gateway.serving.gateway_server import GatewayServer
from turnmix.gateway.serving.server import Gateway
from turnmix.gateway.serving.sessions import SessionBook, digests_in
from turnmix.gateway.session.journal import SessionJournal
from turnmix.gateway.session.session_parts import SessionParts
from turnmix.policies.endpoint.policy import EndpointPolicy, EndpointSettings
from turnmix.rollout.plan import RolloutPlan
from turnmix.store.run_directory import RunDirectory


class LetterCounter:
    """A token a letter."""

    def prompt(self, state):
        return sum(len(message.content) for message in state.messages)

    def answer(self, action):
        return len(action.message.content) + 1

    def tokens(self, action):
        return None


class Service:
    def __init__(self, model, directory):
        self.book = SessionBook()
        self._journals = directory / "sessions"
        self._sessions = {}
        path = directory / "run"
        self._run = RunDirectory.resume(path) if path.exists() else self._begun(path)

        def policy(name, attempts):
            settings = EndpointSettings(
                endpoint=f"{model}/v1", model=name, max_concurrency=512, max_attempts=attempts,
                backoff_seconds=0.005, max_backoff_seconds=0.02, timeout_seconds=3.0,
            )  # fmt: skip
            return EndpointPolicy(settings, name=name, generator=random.Random(0))

        self._parts = SessionParts(
            student=policy("student", 2),
            teacher=policy("teacher", 30),
            actors=lambda turn, state: "teacher" if turn % 3 == 1 else "student",
            label=True,
            count=LetterCounter(),
        )

    def _begun(self, path):
        self._journals.mkdir()
        return RunDirectory.create(path, recipe_yaml="method: dagger\n")

    def restore(self):
        for path in sorted(self._journals.iterdir()):
            journal = SessionJournal.open(path)
            name = journal.trajectory_id
            if name in self._run.trajectories:
                digests = digests_in(journal)
                self.book.hold_again(
                    None, id=name, digests=digests, finish=lambda told, name=name: self._over(name)
                )
                journal.close()
            else:
                session = self.book.open_again(
                    plan_of(name),
                    self._parts,
                    journal,
                    id=name,
                    finish=lambda told, name=name: self._finish(name),
                )
                self._sessions[name] = session

    async def open(self, body, url):
        name = body["task"]
        opened = self.book.open(
            plan_of(name), self._parts, finish=lambda told: self._finish(name), journals=self._journals
        )
        self._sessions[name] = opened.session
        return {"url": opened.session_url, "key": opened.key}

    async def _finish(self, name):
        trajectory = await self._sessions[name].end(StopReason.finished, resolved, label_seconds=600)
        if name not in self._run.trajectories:
            self._run.trajectories.append(trajectory)
            await self.book.end(name)
        return {"turns": len(trajectory.turns)}

    async def _over(self, name):
        (trajectory,) = self._run.trajectories.read([name])
        return {"turns": len(trajectory.turns)}


async def resolved():
    return Verdict(resolved=True)


def plan_of(name):
    return RolloutPlan(
        trajectory_id=name, task=Task(id=name, problem_statement=""), iteration=1,
        seed=7, cohort="", beta=None,
    )  # fmt: skip


async def serve(model, directory, port="0"):
    service = Service(model, Path(directory))
    service.restore()
    gateway = Gateway(service.book, opener=service.open)
    async with GatewayServer(gateway, port=int(port)) as server:
        print(server.url.rpartition(":")[2], flush=True)
        await service.book.failed()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
