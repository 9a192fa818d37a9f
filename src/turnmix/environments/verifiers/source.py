"""Tasksets of verifiers (PyPI verifiers >= 0.4) as tasks: their prompts, tools, stop conditions and rewards.

In: an environment's name. Out: a task source; each task of the taskset is in one split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.task import Task
from turnmix.environments.environment import Split, TaskParts, TaskSettings
from turnmix.environments.held_out import held_out
from turnmix.environments.planner import OwnExpert, Plan, asked_expert, call_of, planner_policy
from turnmix.environments.verifiers.environment import VerifiersEnvironment
from turnmix.environments.verifiers.library import Library, verifiers_loaders
from turnmix.policies.scripted import ScriptedPolicy


class VerifiersSettings(TaskSettings):
    """Tasks of a taskset of verifiers."""

    source: Literal["verifiers"] = "verifiers"
    environment: str = Field(min_length=1)
    """The name of the taskset's package, as `eval` of verifiers takes it: gsm8k_v1, or my_package.my_taskset."""
    arguments: Mapping[str, Any] = {}
    """Settings of the taskset."""
    holdout: int = Field(default=50, ge=0)
    """So many tasks, drawn by `seed`, are for evaluation alone."""
    seed: int = Field(default=0, ge=0)
    """Other seeds hold out other tasks."""
    most_tasks: int = Field(default=4000, ge=1)
    """Of a taskset that has no end, so many are taken."""
    max_turns: int = Field(default=24, ge=1)
    """Turns of one trajectory."""
    scoring_seconds: float = Field(default=600.0, gt=0)
    """Rewards and judges that take longer have failed."""
    resolved_above: float = 0.5
    """A task is resolved where its weighted rewards add up to more than this; their sum is the reward of GRPO."""
    expert: OwnExpert = None
    """Who knows the way, package.module:Name: called with the task's data, as JSON, it returns a function that is
    asked once in each state: given the conversation, as JSON, it returns a text to say, or a tool's name and its
    arguments, or None where nothing helps."""

    def check(self) -> list[Finding]:
        """Raises UserError: the package is missing."""
        verifiers_loaders()
        return []

    def make(self, parts: TaskParts) -> VerifiersSource:
        return VerifiersSource(self)

    def planner(self, data: Mapping[str, Any]) -> Callable[[Any], Plan]:
        """The user's expert for a task."""
        return asked_expert(str(self.expert), data, form=_said_or_called)


class VerifiersSource:
    """The tasks of one taskset."""

    def __init__(self, settings: VerifiersSettings) -> None:
        """Raises UserError: there is no such taskset, or too few tasks in it."""
        self._settings = settings
        self._library = Library(
            settings.environment,
            settings.arguments,
            max_turns=settings.max_turns,
            most_tasks=settings.most_tasks,
            scoring_seconds=settings.scoring_seconds,
        )
        number = len(self._library.tasks)
        if settings.holdout >= number:
            raise UserError(
                f"tasks.holdout = {settings.holdout}: {settings.environment} has {number} tasks, and one or more must "
                "be left to train on: lower it"
            )
        chosen = held_out(range(number), number=settings.holdout, seed=settings.seed)
        self._tasks: dict[Split, list[Task]] = {
            "train": [self._task(index) for index in range(number) if index not in chosen],
            "holdout": [self._task(index) for index in sorted(chosen)],
        }

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks[split]

    def environment(self, task: Task) -> VerifiersEnvironment:
        settings = self._settings
        return VerifiersEnvironment(
            self._library,
            task,
            resolved_above=settings.resolved_above,
            make_planner=None if settings.expert is None else settings.planner,
        )

    def expert(self) -> ScriptedPolicy | None:
        """Does what the user's own says."""
        return None if self._settings.expert is None else planner_policy()

    def _task(self, index: int) -> Task:
        data = self._library.tasks[index].data
        return Task(
            id=f"{self._settings.environment}-{index:05d}",
            problem_statement=data.prompt_text,
            fields={"index": index},
        )


def _said_or_called(answer: Any) -> Plan:
    return answer if isinstance(answer, str) else call_of(answer)
