"""A counting world and policies that write down what happens to them, and fail where they are told to."""

import asyncio

from turnmix.core.errors import SandboxError, TeacherError
from turnmix.environments.counting import CountingEnvironment, CountingSource
from turnmix.policies.scripted import call_action, turn_number


class RecordingEnvironment(CountingEnvironment):
    def __init__(self, task, *, goal, max_turns, source):
        super().__init__(task, goal=goal, max_turns=max_turns)
        self.source = source
        self.task_id = task.id

    def note(self, event):
        self.source.events.append(f"{event} {self.task_id}")
        if self.source.fails_at(event):
            raise self.source.error

    async def reset(self):
        self.note("reset")
        self.source.open += 1
        self.source.most_open = max(self.source.most_open, self.source.open)
        return await super().reset()

    async def step(self, action):
        self.note("step")
        for _ in range(self.source.rounds(self.task_id)):
            await self.source.pause()
        return await super().step(action)

    async def verify(self, stop_reason):
        self.note("verify")
        if self.source.verifying is not None:
            self.source.verifying.set()
        return await super().verify(stop_reason)

    async def close(self):
        if not getattr(self, "is_closed", False):
            self.is_closed = True
            self.source.open -= 1
        self.source.events.append(f"close environment {self.task_id}")


class RecordingSource(CountingSource):
    """`fail` names an event; its first `failures` occurrences raise `error`."""

    def __init__(
        self, *, fail=None, failures=10**6, error=None, rounds=lambda task_id: 1, max_turns=4, num_train=4
    ):
        super().__init__(num_train=num_train, max_turns=max_turns)
        self.events = []
        self.fail, self.failures = fail, failures
        self.error = SandboxError("the sandbox died") if error is None else error
        self.rounds = rounds
        self.verifying = None
        self.open = self.most_open = 0

    def fails_at(self, event):
        if event != self.fail or self.failures == 0:
            return False
        self.failures -= 1
        return True

    async def pause(self):
        await asyncio.sleep(0)

    def environment(self, task):
        return RecordingEnvironment(task, goal=self._goals[task.id], max_turns=self._max_turns, source=self)


class RecordingPolicy:
    """Adds 1 as the student and 100 as the teacher, until `finish_at`; a gate holds every answer."""

    def __init__(self, name, source, *, finish_at=10**6, gate=None):
        self.name = name
        self.source = source
        self.finish_at = finish_at
        self.gate = gate
        self.episodes = []
        self.states = []

    def begin(self, episode):
        self.source.events.append(f"begin {self.name} {episode.task.id}")
        self.episodes.append(episode)
        return RecordingSession(self, episode)

    async def close(self):
        raise AssertionError("a rollout does not close the policy, only its sessions")


class RecordingSession:
    def __init__(self, policy, episode):
        self.policy = policy
        self.episode = episode
        self.seen = None

    def note(self, event):
        source = self.policy.source
        source.events.append(f"{event} {self.policy.name} {self.episode.task.id}")
        if source.fails_at(f"{event} {self.policy.name}"):
            raise source.error if not isinstance(source.error, SandboxError) else TeacherError("not reached")

    async def look(self):
        self.note("look")
        await self.policy.source.pause()
        await self.policy.source.pause()
        if self.episode.inspectable is not None:
            self.seen = self.episode.privileged_view().count
        self.note("looked")

    async def act(self, state):
        self.note("act")
        seen = self.seen
        self.policy.states.append(state)
        await self.policy.source.pause()
        if self.policy.gate is not None:
            await self.policy.gate.wait()
        if turn_number(state) >= self.policy.finish_at:
            return call_action("finish")
        if self.policy.name == "teacher":
            return call_action("add", amount=100, seen=seen)
        return call_action("add", amount=1)

    async def close(self):
        self.policy.source.events.append(f"close {self.policy.name} {self.episode.task.id}")
