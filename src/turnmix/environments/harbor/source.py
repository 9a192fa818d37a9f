"""Harbor task directories as a task source."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from turnmix.core.bounded_cache import BoundedCache
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.settings import NAMES
from turnmix.core.task import Task
from turnmix.core.terminal import tell
from turnmix.core.trajectory import Action
from turnmix.environments.environment import Split, TaskParts, TaskSettings
from turnmix.environments.harbor.environment import HarborEnvironment
from turnmix.environments.harbor.expert import harbor_expert, solution_steps
from turnmix.environments.harbor.grading import HarborVerifier
from turnmix.environments.harbor.task_directory import CONFIGURATION, HarborTask, read_task, resolved
from turnmix.environments.harbor.task_toml import UnsupportedTask
from turnmix.environments.held_out import held_out
from turnmix.policies.scripted import ScriptedPolicy
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.settings import SandboxNeeds

MOST_SHOWN = 8
MOST_KEPT = 64 << 20
"""Bytes of solutions."""


class HarborSettings(TaskSettings):
    """Tasks in Harbor's format, each in a container of its own."""

    needs_sandbox: ClassVar[bool] = True

    source: Literal["harbor"] = "harbor"
    path: Path
    """A directory of Harbor tasks, or one of them."""
    holdout: Annotated[float, Field(ge=0, lt=1)] | Literal["all"] = 0.2
    """Share of the tasks, drawn by `seed`, that are for evaluation alone; all: nothing is trained on them."""
    holdout_tasks: Annotated[tuple[str, ...], NAMES] = ()
    """The tasks for evaluation by the names of their directories, in place of a share."""
    seed: int = Field(default=0, ge=0)
    """Other seeds hold out other tasks."""
    skip_unsupported: bool = False
    """Leave out, by name, tasks that ask for what TurnMix does not do; else they are an error."""
    without_network: bool = False
    """Tasks that do not say that they need no network get none either: only where neither agent nor tests use one."""
    variables: Annotated[tuple[str, ...], NAMES] = ()
    """Variables of yours that a task's environment, tests or solution may ask for, such as a judge's key. Agents see
    those of the environment."""
    reward: str = "reward"
    """Which one counts, where tests give several by name."""
    resolved_at: float = 1.0
    """The reward from which a task is resolved."""

    @property
    def is_for_evaluation(self) -> bool:
        return self.holdout == "all" and not self.holdout_tasks

    def make(self, parts: TaskParts) -> HarborSource:
        return HarborSource(self, parts)

    def check(self) -> Iterable[Finding]:
        """Raises UserError: there is no such directory, or what lies there are no tasks."""
        tasks, left_out = _read_tasks(self)
        told = f"{len(tasks)} Harbor tasks{f', {len(left_out)} left out' if left_out else ''}"
        yield Finding(subject="tasks", passed=True, detail=told)

    def container_images(self) -> Iterable[str]:
        return [image for task in _read_tasks(self)[0] if (image := task.asks.environment.docker_image)]


class HarborSource:
    """Every task of a directory is in one split."""

    def __init__(self, settings: HarborSettings, parts: TaskParts) -> None:
        """Raises UserError: a task is none, or there are none to train on."""
        tasks, left_out = _read_tasks(settings)
        for told in left_out:
            tell(f"left out: {told}")
        self._settings = settings
        self._parts = parts
        self._tasks = {task.name: task for task in tasks}
        self._steps = BoundedCache[list[Action]](max_bytes=MOST_KEPT)
        given = os.environ.keys() & set(settings.variables)
        self._given = {name: os.environ[name] for name in sorted(given)}
        chosen = _held_out(settings, list(self._tasks))
        for name in self._tasks:  # what a task cannot have here is said before any work
            self.environment(Task(id=name, problem_statement=""))
        self._splits: dict[Split, list[str]] = {
            "train": [name for name in self._tasks if name not in chosen],
            "holdout": [name for name in self._tasks if name in chosen],
        }

    def tasks(self, split: Split) -> Sequence[Task]:
        return [
            Task(id=name, problem_statement=self._tasks[name].instruction) for name in self._splits[split]
        ]

    def environment(self, task: Task) -> HarborEnvironment:
        """Raises UserError: the recipe's sandboxes cannot have what the task needs."""
        found = self._tasks[task.id]
        asks = found.asks
        needs = found.needs
        if self._settings.without_network:
            needs = replace(needs, network="none")
        variables = resolved(asks.environment.env, self._given, where=f"{found.directory}: environment.env")
        return HarborEnvironment(
            task,
            found,
            sandbox=self._sandbox(found, replace(needs, variables=variables)),
            scaffold=self._parts.scaffold,
            make_verifier=partial(
                HarborVerifier,
                found,
                variables=resolved(asks.verifier.env, self._given, where=f"{found.directory}: verifier.env"),
                reward=self._settings.reward,
                resolved_at=self._settings.resolved_at,
            ),
        )

    def expert(self) -> ScriptedPolicy | None:
        """Does as Harbor's oracle; None: no task has a solution."""
        has_any = any((task.directory / "solution" / "solve.sh").is_file() for task in self._tasks.values())
        return harbor_expert(self._solution) if has_any else None

    def _solution(self, task: Task) -> list[Action]:
        if (found := self._steps.get(task.id)) is None:
            harbor_task = self._tasks[task.id]
            variables = resolved(
                harbor_task.asks.solution.env, self._given, where=f"{harbor_task.directory}: solution.env"
            )
            seconds = harbor_task.asks.agent.timeout_sec or self._parts.scaffold.wall_seconds
            found = solution_steps(harbor_task.solution(), variables, seconds=seconds)
            size = sum(len(str(step.message.tool_calls[0].arguments)) for step in found)
            self._steps.put(task.id, found, size=size)
        return found

    def _sandbox(self, task: HarborTask, needs: SandboxNeeds) -> Sandbox:
        try:
            return self._parts.make_sandbox(needs)
        except UserError as error:
            further = "; or tasks.without_network=true" if "network" in str(error) else ""
            raise UserError(f"{task.directory / CONFIGURATION}: {error}{further}") from error


def _read_tasks(settings: HarborSettings) -> tuple[list[HarborTask], list[str]]:
    """In the order of their names; and why others are left out."""
    path = settings.path.expanduser()
    tasks, left_out = [], []
    try:
        found = [path] if (path / CONFIGURATION).is_file() else sorted(path.iterdir())
    except OSError as error:
        raise UserError(f"tasks.path: {path}: {error.strerror}: name a directory of Harbor tasks") from None
    for directory in found:
        if not (directory / CONFIGURATION).is_file():
            continue
        try:
            tasks.append(read_task(directory.resolve()))
        except UnsupportedTask as error:
            left_out.append(str(error))
    if left_out and not settings.skip_unsupported:
        more = [f"… and {len(left_out) - MOST_SHOWN} more"] if len(left_out) > MOST_SHOWN else []
        raise UserError(*left_out[:MOST_SHOWN], *more, "tasks.skip_unsupported=true leaves such tasks out")
    if not tasks:
        raise UserError(
            f"tasks.path: {path}: no Harbor task lies there: a directory with {CONFIGURATION} is one"
        )
    return tasks, left_out


def _held_out(settings: HarborSettings, names: list[str]) -> set[str]:
    if settings.holdout_tasks:
        if unknown := sorted({*settings.holdout_tasks} - {*names}):
            raise UserError(f"tasks.holdout_tasks: {unknown[0]}: there is no such task in {settings.path}")
        return {*settings.holdout_tasks}
    if settings.holdout == "all":
        return {*names}
    return held_out(names, number=round(settings.holdout * len(names)), seed=settings.seed)
