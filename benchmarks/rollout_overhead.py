"""What the rollout framework costs: measured wall time against the ideal, in one process.

1,000 trajectories of 20 turns run at once. Model, teacher and environment are simulated: each call sleeps for
a time drawn from its task's seed, uniformly from LATENCIES. The ideal is the longest trajectory's own time
line, computed from the same draws: nothing but its calls, labels beside them, no framework. Prints a table
and one line of JSON.

    python benchmarks/rollout_overhead.py [--trajectories N] [--turns N]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import random
import time
from collections.abc import Sequence

from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason, Trajectory, Verdict
from turnmix.environments.counting import TOOLS
from turnmix.environments.environment import Split, Step
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import call_action
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import DaggerMixture
from turnmix.rollout.plan import RolloutPlan, derive_seed, make_plans

LATENCIES = {
    "reset": (0.2, 0.6),
    "student": (0.3, 0.9),
    "teacher": (0.4, 1.2),
    "step": (0.05, 0.4),
    "verify": (0.5, 1.5),
}
"""Seconds, from … to. Real turns take longer; the shorter they are, the more the framework's cost shows."""
ITERATION = 3
MIXTURE = DaggerMixture()


@functools.cache
def latencies(task_id: str, call: str, count: int) -> tuple[float, ...]:
    """The seconds that the calls named `call` take in one trajectory, by turn."""
    generator = random.Random(derive_seed(task_id, call))
    low, high = LATENCIES[call]
    return tuple(generator.uniform(low, high) for _ in range(count))


class SimulatedEnvironment:
    def __init__(self, task: Task, num_turns: int) -> None:
        self.task_id, self.num_turns, self.turn = task.id, num_turns, 0

    async def reset(self) -> State:
        await asyncio.sleep(latencies(self.task_id, "reset", 1)[0])
        return State(messages=(Message(role="user", content="Repair it."),), tools=TOOLS)

    async def step(self, action: Action) -> Step:
        await asyncio.sleep(latencies(self.task_id, "step", self.num_turns)[self.turn])
        self.turn += 1
        observation = Message(role="tool", content="ok " * 100, tool_call_id="call_0")
        stop_reason = StopReason.finished if self.turn == self.num_turns else None
        return Step(observation=(observation,), stop_reason=stop_reason)

    async def verify(self, stop_reason: StopReason) -> Verdict:
        await asyncio.sleep(latencies(self.task_id, "verify", 1)[0])
        return Verdict(resolved=True, submitted=True, passed=1, failed=0)

    async def close(self) -> None:
        pass


class SimulatedSource:
    name = "simulated"

    def __init__(self, num_tasks: int, num_turns: int) -> None:
        self.num_turns = num_turns
        self._tasks = [
            Task(id=f"simulated-{number}", problem_statement="", working_directory="/", files={})
            for number in range(num_tasks)
        ]

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks

    def environment(self, task: Task) -> SimulatedEnvironment:
        return SimulatedEnvironment(task, self.num_turns)


class SimulatedPolicy:
    def __init__(self, name: str, num_turns: int) -> None:
        self.name, self.num_turns = name, num_turns

    def begin(self, episode: Episode) -> SimulatedSession:
        return SimulatedSession(latencies(episode.task.id, self.name, self.num_turns))

    async def close(self) -> None:
        pass


class SimulatedSession:
    def __init__(self, seconds: tuple[float, ...]) -> None:
        self.seconds = seconds

    async def look(self) -> None:
        pass

    async def act(self, state: State) -> Action:
        await asyncio.sleep(self.seconds[len(state.messages) // 2])
        return call_action("add", amount=1)

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
        if actor(turn) == "student":
            last_label = max(last_label, now + teacher[turn])
        now += (student if actor(turn) == "student" else teacher)[turn] + step[turn]
    return max(now + latencies(plan.task.id, "verify", 1)[0], last_label)


def main() -> None:
    parser = argparse.ArgumentParser(description="The rollout framework's cost against the ideal wall time.")
    parser.add_argument("--trajectories", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=20)
    arguments = parser.parse_args()

    source = SimulatedSource(arguments.trajectories, arguments.turns)
    plans = make_plans(
        source.tasks("train"), iteration=ITERATION, seed=0, cohort_size=1, beta=MIXTURE.beta(ITERATION)
    )
    # Computed first: the draws are then remembered, and drawing them is no part of the measured time.
    ideal = max(ideal_seconds(plan, arguments.turns) for plan in plans)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    trajectories: list[Trajectory] = asyncio.run(
        collect(
            plans,
            source=source,
            student=SimulatedPolicy("student", arguments.turns),
            teacher=SimulatedPolicy("teacher", arguments.turns),
            mixture=MIXTURE,
            label=True,
            concurrency=arguments.trajectories,
        )
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    assert len(turns) == arguments.trajectories * arguments.turns
    assert all(turn.label is not None for turn in turns)
    num_queries = sum(turn.actor == "student" for turn in turns)
    figures = {
        "share_of_ideal": round(ideal / wall, 4),
        "ms_per_turn": round(1000 * cpu / len(turns), 4),
        "trajectories": len(trajectories),
        "turns": len(turns),
        "labels_beside": num_queries,
        "ideal_seconds": round(ideal, 3),
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(cpu, 3),
    }
    print(f"{len(trajectories):,} trajectories of {arguments.turns} turns at once, teacher labels included")
    print(f"  labels asked beside student turns  {num_queries:>9,} of {len(turns):,} turns")
    print(f"  ideal wall time                    {ideal:>9.2f} s   (the longest trajectory's own calls)")
    print(f"  measured wall time                 {wall:>9.2f} s")
    print(f"  share of ideal                     {ideal / wall:>9.3f}     (wanted: 0.95 or more)")
    print(
        f"  CPU per turn                       {1000 * cpu / len(turns):>9.3f} ms  (simulated calls included)"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
