"""The minirepo task source: task i of a split is a pure function of (seed, split, i)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from functools import lru_cache, partial
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from turnmix.core.json_text import json_text
from turnmix.core.task import Task, Workspace
from turnmix.core.trajectory import Action
from turnmix.environments.drawn_tasks import DrawnTasks
from turnmix.environments.environment import Split, TaskParts, TaskSettings
from turnmix.environments.minirepo.accidents import ACCIDENTS, MinirepoAccident
from turnmix.environments.minirepo.repository import Case, Repository, make_repository
from turnmix.environments.minirepo.step_kinds import step_kind
from turnmix.environments.minirepo.templates import MODULES
from turnmix.environments.minirepo.verifier import MinirepoVerifier
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.environments.solution_outline import SolutionOutline
from turnmix.environments.workspace_files import GIT_REPOSITORY, write_workspace
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.scaffold import ScaffoldSettings

WORKING_DIRECTORY = "/testbed"
HOLDOUT_SHARE = 5
"""One repository in this many, by the digest of its files, can only be a holdout task."""


class MinirepoSettings(TaskSettings):
    """The embedded tasks."""

    needs_sandbox: ClassVar[bool] = True

    source: Literal["minirepo"] = "minirepo"
    train: int = Field(default=4000, ge=1, le=1_000_000)
    """Number of training tasks."""
    holdout: int = Field(default=200, ge=1, le=100_000)
    """Number of holdout tasks."""
    seed: int = Field(default=0, ge=0)
    """Other seeds give other tasks."""
    modules: tuple[int, int] = (3, 5)
    """Fewest and most modules of a repository."""
    bugs: tuple[int, int] = (1, 3)
    """Fewest and most bugs; each is in a module of its own."""

    def make(self, parts: TaskParts) -> MinirepoSource:
        return MinirepoSource(self, make_sandbox=parts.make_sandbox, scaffold=parts.scaffold)

    @model_validator(mode="after")
    def _ranges(self) -> MinirepoSettings:
        for name, (low, high), top in (
            ("modules", self.modules, len(MODULES)),
            ("bugs", self.bugs, self.modules[0]),
        ):
            if not 1 <= low <= high <= top:
                raise ValueError(
                    f"{name} is [{low}, {high}]; give two numbers with 1 <= first <= second <= {top}"
                )
        return self


class MinirepoTasks(DrawnTasks):
    """The tasks of one split."""

    def __init__(self, settings: MinirepoSettings, split: Split) -> None:
        super().__init__(
            settings.train if split == "train" else settings.holdout, partial(_task, settings, split)
        )


def _task(settings: MinirepoSettings, split: Split, index: int) -> Task:
    repository = _repository(settings, split, index)
    return Task(
        id=f"minirepo-{settings.seed}-{split}-{index:05d}",
        problem_statement=repository.problem_statement,
        workspace=Workspace(working_directory=WORKING_DIRECTORY, files=repository.files),
    )


class MinirepoSource:
    """Small Python repositories with one to three bugs, each task in a sandbox of its own."""

    def __init__(
        self, settings: MinirepoSettings, *, make_sandbox: Callable[[], Sandbox], scaffold: ScaffoldSettings
    ) -> None:
        self._settings = settings
        self._make_sandbox = make_sandbox
        self._scaffold = scaffold
        self._verifier = MinirepoVerifier(make_sandbox, self.cases)

    def tasks(self, split: Split) -> MinirepoTasks:
        return MinirepoTasks(self._settings, split)

    def environment(self, task: Task) -> ScaffoldedEnvironment:
        return ScaffoldedEnvironment(
            task=task,
            sandbox=self._make_sandbox(),
            settings=self._scaffold,
            verifier=self._verifier,
            prepare=partial(write_workspace, afterwards=GIT_REPOSITORY),
        )

    def expert(self) -> OraclePolicy:
        """Knows every task's solution."""
        return OraclePolicy(self.solution)

    def accident(self, kind: str) -> MinirepoAccident | None:
        """`breaking`: an edit after which a module cannot be imported; `harmless`: a wrong line in a function."""
        return MinirepoAccident(kind, self.solution) if kind in ACCIDENTS else None

    def step_kind(self, action: Action) -> str:
        """view, search, edit, restore, remove, test, finish, other; malformed, where nothing is called."""
        return step_kind(action)

    def solution(self, task: Task) -> Solution:
        """For the verifier and the oracle alone."""
        return self._repository(task).solution

    def solution_outline(self, task: Task) -> SolutionOutline:
        solution = self.solution(task)
        return SolutionOutline(paths=frozenset({*solution.files, *solution.removed}))

    def cases(self, task: Task) -> tuple[Case, ...]:
        """For the verifier alone."""
        return self._repository(task).cases

    def _repository(self, task: Task) -> Repository:
        _, _, split, index = task.id.split("-")
        return _repository(self._settings, split, int(index))


@lru_cache(maxsize=4096)
def _repository(settings: MinirepoSettings, split: str, index: int) -> Repository:
    """Task `index` of a split: the first draw whose digest falls into that split."""
    generator = random.Random(f"minirepo {settings.seed} {split} {index}")
    while True:
        repository = make_repository(generator, modules=settings.modules, bugs=settings.bugs)
        digest = hashlib.sha256(json_text(repository.files).encode()).digest()
        if (int.from_bytes(digest[:4], "big") % HOLDOUT_SHARE == 0) == (split == "holdout"):
            return repository
