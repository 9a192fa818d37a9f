"""Tasksets of verifiers (PyPI verifiers >= 0.4) as tasks: their prompts, tools, stop conditions and rewards.

In: an environment's name. Out: a task source; each task of the taskset is in one split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from turnmix.core.doors import own_code
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.plugins import load_plugin, telling_faults
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.environments.environment import Split, TaskParts, TaskSettings
from turnmix.environments.verifiers.environment import Plan, VerifiersEnvironment
from turnmix.environments.verifiers.library import Library, verifiers_loaders
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action


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
    expert: str | None = None
    """Who knows the way, package.module:Name: called with the task's data, as JSON, it returns a function that is
    asked once in each state: given the conversation, as JSON, it returns a text to say, or a tool's name and its
    arguments, or None where nothing helps."""

    @field_validator("expert")
    @classmethod
    def _is_there(cls, name: str | None, info: ValidationInfo) -> str | None:
        return None if name is None else own_code(name, info, section="tasks")

    def check(self) -> list[Finding]:
        """Raises UserError: the package is missing."""
        verifiers_loaders()
        return []

    def make(self, parts: TaskParts) -> VerifiersSource:
        return VerifiersSource(self)

    def plan(self, data: Mapping[str, Any]) -> Plan:
        """The user's expert for a task."""
        name = str(self.expert)
        with telling_faults(name):
            asked = load_plugin(name, field="tasks.expert")(data)

        def plan(messages: Sequence[Mapping[str, Any]]) -> Any:
            with telling_faults(name):
                answer = asked(messages)
                return (
                    answer if answer is None or isinstance(answer, str) else (str(answer[0]), dict(answer[1]))
                )

        return plan


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
        ranked = sorted(
            range(number), key=lambda index: hashlib.sha256(f"{settings.seed} {index}".encode()).digest()
        )
        held_out = set(ranked[: settings.holdout])
        self._tasks: dict[Split, list[Task]] = {
            "train": [self._task(index) for index in range(number) if index not in held_out],
            "holdout": [self._task(index) for index in sorted(held_out)],
        }

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._tasks[split]

    def environment(self, task: Task) -> VerifiersEnvironment:
        settings = self._settings
        return VerifiersEnvironment(
            self._library,
            task,
            resolved_above=settings.resolved_above,
            make_plan=None if settings.expert is None else settings.plan,
        )

    def expert(self) -> ScriptedPolicy | None:
        """Does what the user's own says."""
        return None if self._settings.expert is None else ScriptedPolicy("planner", _planned)

    def _task(self, index: int) -> Task:
        data = self._library.tasks[index].data
        return Task(
            id=f"{self._settings.environment}-{index:05d}",
            problem_statement=data.prompt_text,
            fields={"index": index},
        )


def _planned(episode: Episode, state: State) -> Action:
    planned = episode.privileged_view()
    if planned is None:
        return text_action("It cannot be done any more.")
    return text_action(planned) if isinstance(planned, str) else call_action(planned[0], **planned[1])
