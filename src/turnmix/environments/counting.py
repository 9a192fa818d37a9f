"""The smallest world with consequences, for tests and benchmarks: bring a counter to its goal. No sandbox.

The agent calls `add` with an amount and `finish` at the end. A wrong amount moves the counter and can be
undone, so states that the student wrecked are as real here as in a repository. Resolved: at the goal.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Split, Step
from turnmix.policies.accident import AccidentPolicy, ScriptedAccident
from turnmix.policies.policy import Episode, Policy
from turnmix.policies.scripted import ScriptedPolicy, call_action

_AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
TOOLS = (
    ToolSpecification(name="add", description="Add an amount to the counter.", parameters=_AMOUNT),
    ToolSpecification(name="finish", description="Submit.", parameters={"type": "object", "properties": {}}),
)


class CountingEnvironment:
    """A counter that starts at 0."""

    def __init__(self, task: Task, *, goal: int, max_turns: int = 20) -> None:
        self.goal = goal
        self.count = 0
        """Where the counter stands."""
        self._task = task
        self._turns_left = max_turns

    def privileged_view(self) -> CountingEnvironment:
        """Itself: `goal` and `count`."""
        return self

    async def reset(self) -> State:
        return State(messages=(Message(role="user", content=self._task.problem_statement),), tools=TOOLS)

    async def step(self, action: Action) -> Step:
        self._turns_left -= 1
        calls = action.message.tool_calls
        observation: tuple[Message, ...]
        if calls:
            observation = tuple(
                Message(
                    role="tool",
                    content=self._execute(call.name, call.arguments.get("amount")),
                    tool_call_id=call.id,
                )
                for call in calls
            )
        else:
            observation = (Message(role="user", content="Please call a tool."),)
        if any(call.name == "finish" for call in calls):
            return Step(observation=observation, stop_reason=StopReason.finished)
        return Step(
            observation=observation, stop_reason=None if self._turns_left > 0 else StopReason.max_turns
        )

    async def verify(self, stop_reason: StopReason) -> Verdict:
        has_finished = stop_reason is StopReason.finished
        resolved = has_finished and self.count == self.goal
        return Verdict(
            resolved=resolved, details={"submitted": has_finished and self.count != 0, "count": self.count}
        )

    async def close(self) -> None:
        """Nothing is held."""

    def _execute(self, tool: str, amount: object) -> str:
        if tool == "finish":
            return "submitted"
        if tool != "add":
            return f"there is no tool {tool!r}; there are add and finish"
        if not isinstance(amount, int):
            return f"amount must be an integer, not {amount!r}"
        self.count += amount
        return f"the counter is at {self.count}"


class CountingSource:
    """Tasks `count-<split>-<number>` with goals of 1 to 9, drawn from `seed`."""

    name = "counting"

    def __init__(
        self, *, num_train: int = 100, num_holdout: int = 20, seed: int = 0, max_turns: int = 20
    ) -> None:
        generator = random.Random(seed)
        self._max_turns = max_turns
        self._goals: dict[str, int] = {}
        self._tasks: dict[Split, list[Task]] = {"train": [], "holdout": []}
        sizes: tuple[tuple[Split, int], ...] = (("train", num_train), ("holdout", num_holdout))
        for split, size in sizes:
            for number in range(size):
                goal = generator.randint(1, 9)
                task = Task(
                    id=f"count-{split}-{number}",
                    problem_statement=f"Bring the counter from 0 to {goal}, then call finish.",
                )
                self._goals[task.id] = goal
                self._tasks[split].append(task)

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks[split]

    def expert(self) -> Policy:
        """Adds what is missing, and finishes."""

        def script(episode: Episode, state: State) -> Action:
            counter: CountingEnvironment = episode.privileged_view()
            missing = counter.goal - counter.count
            return call_action("add", amount=missing) if missing else call_action("finish")

        return ScriptedPolicy("counting expert", script)

    def accident(self, kind: str) -> AccidentPolicy | None:
        """`breaking`: adds 100, which must be taken back; `harmless`: adds 0."""
        amount = {"breaking": 100, "harmless": 0}.get(kind)
        if amount is None:
            return None
        return ScriptedAccident(f"{kind} slip", lambda episode, state: call_action("add", amount=amount))

    def step_kind(self, action: Action) -> str:
        """Which tool is called: add or finish; else other."""
        called = action.message.tool_calls[-1].name if action.message.tool_calls else "nothing"
        return called if called in {tool.name for tool in TOOLS} else "other"

    def environment(self, task: Task) -> CountingEnvironment:
        return CountingEnvironment(task, goal=self._goals[task.id], max_turns=self._max_turns)
