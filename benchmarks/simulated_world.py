"""A world and its expert that only take time, as a recipe names them: `simulated_world:Waiting`.

A call sleeps for a time drawn from its task and turn, uniformly from LATENCIES, and says so many characters of text.
Tasks whose numbers differ by `cycle` take the same times, so that more of them are the same work again. Those of the
holdout take none.
"""

import asyncio
import random
import sysconfig
from functools import cache
from pathlib import Path

from turnmix import (
    Message,
    State,
    Step,
    StopReason,
    Task,
    TaskSettings,
    ToolSpecification,
    Verdict,
    call_action,
)
from turnmix.core.seed import derive_seed

LATENCIES = {"reset": (0.2, 0.6), "act": (0.2, 0.6), "step": (0.05, 0.25), "verify": (0.2, 0.6)}
"""Seconds, from … to."""
PROMPT, REASONING = 9000, 500  # characters
TOOL = ToolSpecification(
    name="look",
    description="Look at something.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
)


class Waiting(TaskSettings):
    """Tasks that take time."""

    number: int = 64
    cycle: int = 64
    turns: int = 10
    observation: int = 2000
    """Characters of what a turn shows."""
    holdout: int = 1
    scale: float = 1.0
    """Of all latencies."""

    def make(self, parts):
        return WaitingTasks(self)


class WaitingTasks:
    def __init__(self, settings):
        self._settings = settings
        counts = {"train": settings.number, "holdout": settings.holdout}
        self._tasks = {
            split: [Task(id=f"{split}-{number}", problem_statement="") for number in range(count)]
            for split, count in counts.items()
        }

    def tasks(self, split):
        return self._tasks[split]

    def environment(self, task):
        return WaitingWorld(task, self._settings)

    def expert(self):
        return WaitingExpert(self._settings)


class WaitingWorld:
    def __init__(self, task, settings):
        self._task, self._settings, self._turn = task, settings, 0

    def privileged_view(self):
        return self._turn

    async def reset(self):
        await wait(self._task, self._settings, "reset")
        prompt = Message(role="user", content=words(PROMPT, self._task.id))
        return State(messages=(prompt,), tools=(TOOL,))

    async def step(self, action):
        await wait(self._task, self._settings, "step", self._turn)
        self._turn += 1
        shown = words(self._settings.observation, self._task.id, self._turn)
        call_id = action.message.tool_calls[0].id
        return Step(
            observation=(Message(role="tool", content=shown, tool_call_id=call_id),),
            stop_reason=StopReason.finished if self._turn == self._settings.turns else None,
        )

    async def verify(self, stop_reason):
        await wait(self._task, self._settings, "verify")
        return Verdict(resolved=True, reward=1.0)

    async def close(self):
        pass


class WaitingExpert:
    name = "waiting"

    def __init__(self, settings):
        self._settings = settings

    def begin(self, episode):
        return WaitingSession(episode, self._settings)

    async def close(self):
        pass


class WaitingSession:
    def __init__(self, episode, settings):
        self._episode, self._settings = episode, settings

    async def look(self):
        pass

    async def act(self, state):
        turn = len(state.messages) // 2
        await wait(self._episode.task, self._settings, "act", turn)
        return call_action("look", at=words(REASONING, self._episode.task.id, "act", turn))

    async def close(self):
        pass


async def wait(task, settings, *call):
    split, _, number = task.id.rpartition("-")
    if split == "train":
        drawn = random.Random(derive_seed(int(number) % settings.cycle, *call)).uniform(*LATENCIES[call[0]])
        await asyncio.sleep(settings.scale * drawn)


def words(count, *place):
    """Other ones in each trajectory and turn."""
    text = library()
    start = derive_seed(*place) % (len(text) - count)
    return text[start : start + count]


@cache
def library():
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    return "".join(path.read_text(encoding="utf-8", errors="ignore") for path in paths)
