"""What a turn costs beside model, teacher and sandbox: CPU time, and measured wall time against the ideal.

Trajectories run at once in one process. Model, teacher and environment are simulated: each call sleeps for a time
drawn from its task's seed, uniformly from LATENCIES. The ideal is the longest trajectory's own time line, computed
from the same draws: nothing but its calls, labels beside them, no framework. Two cases, the second also with half as
many turns, to see what grows:

framework   the loop alone: short observations, no prompt is rendered, nothing is stored
whole       each student turn renders the conversation to token ids and reads the sampled ones back, as for a student
            behind a server; observations have 2,000 characters; each trajectory is appended to a run and forced to
            the disk. HTTP is left out, and so is the JSON of what teachers are asked

Prints a table and one line of JSON: `ms_per_turn` is of the whole, `share_of_ideal` of the framework.

    OMP_NUM_THREADS=1 python benchmarks/rollout_overhead.py [--trajectories N] [--whole N] [--turns N]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from synthetic_text import library, make_renderer, make_tokenizer

from turnmix.core.message import Message, ToolCall
from turnmix.core.seed import derive_seed
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason, Trajectory
from turnmix.core.verdict import Verdict
from turnmix.environments.counting import TOOLS
from turnmix.environments.environment import Split, Step
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import call_action
from turnmix.rendering.renderer import Renderer
from turnmix.rollout.collector import collect
from turnmix.rollout.plan import RolloutPlan, make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.rollout.shares import DaggerMixture
from turnmix.scaffold.bash import Bash
from turnmix.store.run_directory import RunDirectory

LATENCIES = {
    "reset": (0.2, 0.6),
    "student": (0.3, 0.9),
    "teacher": (0.4, 1.2),
    "step": (0.05, 0.4),
    "verify": (0.5, 1.5),
}
"""Seconds, from … to. Real turns take longer; the shorter they are, the more the framework's cost shows."""
PROMPT, OBSERVATION = 9000, 2000  # characters, in the whole case
ITERATION = 3
MIXTURE = DaggerMixture()
ANY_STATE = State(messages=(), tools=())
"""The mixture looks at the turn alone."""


@functools.cache
def latencies(task_id: str, call: str, count: int) -> tuple[float, ...]:
    """The seconds that the calls named `call` take in one trajectory, by turn."""
    generator = random.Random(derive_seed(task_id, call))
    low, high = LATENCIES[call]
    return tuple(generator.uniform(low, high) for _ in range(count))


class Texts:
    """What tasks, tools and agents say in the whole case: other words in each trajectory and turn."""

    def __init__(self) -> None:
        self._text = library()
        self.renderer: Renderer = make_renderer(make_tokenizer(merged=8000, vocabulary=151_936))
        self.tools = (Bash().specification,)

    def words(self, count: int, *place: str | int) -> str:
        start = derive_seed(*place) % (len(self._text) - count)
        return self._text[start : start + count]

    def action(self, *place: str | int) -> Action:
        call = ToolCall(
            id="call_0", name=self.tools[0].name, arguments={"command": self.words(250, "command", *place)}
        )
        content = self.words(250, "reasoning", *place)
        return Action(message=Message(role="assistant", content=content, tool_calls=(call,)))

    @functools.cache  # noqa: B019
    def sampled(self, *place: str | int) -> tuple[int, ...]:
        """What the model sampled: the server's work, done before anything is measured."""
        state = State(messages=(Message(role="user", content="?"),), tools=self.tools)
        return tuple(self.renderer.target_ids(state, self.action(*place)))


class SimulatedEnvironment:
    def __init__(self, task: Task, num_turns: int, texts: Texts | None) -> None:
        self.task_id, self.num_turns, self.turn = task.id, num_turns, 0
        self.texts = texts

    async def reset(self) -> State:
        await asyncio.sleep(latencies(self.task_id, "reset", 1)[0])
        if self.texts is None:
            return State(messages=(Message(role="user", content="Repair it."),), tools=TOOLS)
        prompt = self.texts.words(PROMPT, self.task_id)
        return State(messages=(Message(role="user", content=prompt),), tools=self.texts.tools)

    async def step(self, action: Action) -> Step:
        await asyncio.sleep(latencies(self.task_id, "step", self.num_turns)[self.turn])
        self.turn += 1
        shown = (
            "ok " * 100
            if self.texts is None
            else self.texts.words(OBSERVATION, self.task_id, "shown", self.turn)
        )
        observation = Message(role="tool", content=shown, tool_call_id="call_0")
        stop_reason = StopReason.finished if self.turn == self.num_turns else None
        return Step(observation=(observation,), stop_reason=stop_reason)

    async def verify(self, stop_reason: StopReason) -> Verdict:
        await asyncio.sleep(latencies(self.task_id, "verify", 1)[0])
        return patch_verdict(resolved=True, submitted=True, passed=1, failed=0)

    async def close(self) -> None:
        pass


class SimulatedSource:
    name = "simulated"

    def __init__(self, num_tasks: int, num_turns: int, texts: Texts | None) -> None:
        self.num_turns, self.texts = num_turns, texts
        self._tasks = [Task(id=f"simulated-{number}", problem_statement="") for number in range(num_tasks)]

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks

    def environment(self, task: Task) -> SimulatedEnvironment:
        return SimulatedEnvironment(task, self.num_turns, self.texts)


class SimulatedPolicy:
    def __init__(self, name: str, num_turns: int, texts: Texts | None) -> None:
        self.name, self.num_turns, self.texts = name, num_turns, texts

    def begin(self, episode: Episode) -> SimulatedSession:
        seconds = latencies(episode.task.id, self.name, self.num_turns)
        return SimulatedSession(seconds, self.name, episode.task.id, self.texts)

    async def close(self) -> None:
        pass


class SimulatedSession:
    def __init__(self, seconds: tuple[float, ...], name: str, task_id: str, texts: Texts | None) -> None:
        self.seconds, self.name, self.task_id, self.texts = seconds, name, task_id, texts

    async def look(self) -> None:
        pass

    async def act(self, state: State) -> Action:
        turn = len(state.messages) // 2
        if self.texts is None:
            await asyncio.sleep(self.seconds[turn])
            return call_action("add", amount=1)
        if self.name == "teacher":
            await asyncio.sleep(self.seconds[turn])
            return self.texts.action(self.task_id, self.name, turn)
        renderer = self.texts.renderer
        prompt_ids = await asyncio.to_thread(renderer.prompt_ids, state)
        await asyncio.sleep(self.seconds[turn])
        sampled = self.texts.sampled(self.task_id, turn)
        action = await asyncio.to_thread(renderer.parse, sampled, state.tools)
        return replace(
            action,
            logprobs=(-0.25,) * len(sampled),
            prompt_tokens=len(prompt_ids),
            completion_tokens=len(sampled),
        )

    async def close(self) -> None:
        pass


def ideal_seconds(plan: RolloutPlan, num_turns: int) -> float:
    """One trajectory's time line with no framework: its calls in a row, labels beside them."""
    student, teacher, step = (
        latencies(plan.task.id, call, num_turns) for call in ("student", "teacher", "step")
    )
    actor = MIXTURE.actors(plan.iteration, random.Random(derive_seed(plan.seed, "mixture")))
    now = latencies(plan.task.id, "reset", 1)[0]
    last_label = 0.0
    for turn in range(num_turns):
        acts = actor(turn, ANY_STATE)
        if acts == "student":
            last_label = max(last_label, now + teacher[turn])
        now += (student if acts == "student" else teacher)[turn] + step[turn]
    return max(now + latencies(plan.task.id, "verify", 1)[0], last_label)


def measured(num_trajectories: int, num_turns: int, texts: Texts | None, run: Path) -> dict[str, float]:
    """Seconds, ideal and real, and CPU milliseconds a turn."""
    source = SimulatedSource(num_trajectories, num_turns, texts)
    plans = make_plans(
        source.tasks("train"), iteration=ITERATION, seed=0, cohort_size=1, beta=MIXTURE.beta(ITERATION)
    )
    # Computed first: the draws are then remembered, and drawing them is no part of the measured time.
    ideal = max(ideal_seconds(plan, num_turns) for plan in plans)
    if texts is not None:
        for plan in plans:
            for turn in range(num_turns):
                texts.sampled(plan.task.id, turn)
    stored = RunDirectory.create(run, recipe_yaml="method: dagger\n") if texts is not None else None
    trajectories: list[Trajectory] = []

    def store(trajectory: Trajectory) -> None:
        trajectories.append(trajectory)
        if stored is not None:
            stored.trajectories.append(trajectory)

    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(
        collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=SimulatedPolicy("student", num_turns, texts),
                teacher=SimulatedPolicy("teacher", num_turns, texts),
                mixture=MIXTURE,
                label=True,
                concurrency=num_trajectories,
                on_trajectory=store,
            )
        )
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    assert len(turns) == num_trajectories * num_turns
    assert all(turn.label is not None for turn in turns)
    if stored is not None:
        assert len(stored.trajectories) == num_trajectories
        stored.close()
    return {
        "share_of_ideal": ideal / wall,
        "ms_per_turn": 1000 * cpu / len(turns),
        "trajectories": num_trajectories,
        "turns": num_turns,
        "labels_beside": sum(turn.actor == "student" for turn in turns),
        "ideal_seconds": ideal,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What a turn costs beside model, teacher and sandbox.")
    parser.add_argument("--trajectories", type=int, default=1000, help="of the framework's case")
    parser.add_argument("--whole", type=int, default=64, help="trajectories of the whole case")
    parser.add_argument("--turns", type=int, default=20)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        texts = Texts()
        half = measured(arguments.whole, max(1, arguments.turns // 2), texts, folder / "half")
        framework = measured(arguments.trajectories, arguments.turns, None, folder / "none")
        whole = measured(arguments.whole, arguments.turns, texts, folder / "whole")
    print(f"{'':<24}{'framework':>12}{'whole':>12}{'half the turns':>16}")
    rows = {
        "trajectories at once": ("trajectories", ",.0f"),
        "turns of each": ("turns", ",.0f"),
        "labels beside them": ("labels_beside", ",.0f"),
        "ideal seconds": ("ideal_seconds", ".2f"),
        "measured seconds": ("wall_seconds", ".2f"),
        "share of ideal": ("share_of_ideal", ".3f"),
        "CPU ms a turn": ("ms_per_turn", ".3f"),
    }
    for title, (name, form) in rows.items():
        print(f"{title:<24}{framework[name]:>12{form}}{whole[name]:>12{form}}{half[name]:>16{form}}")
    figures = {
        "share_of_ideal": framework["share_of_ideal"],
        "framework_ms_per_turn": framework["ms_per_turn"],
        "ms_per_turn": whole["ms_per_turn"],
        "ms_per_turn_growth": whole["ms_per_turn"] / half["ms_per_turn"],
        "whole_share_of_ideal": whole["share_of_ideal"],
    }
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
