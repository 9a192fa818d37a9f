"""Making tasks, grading patches and rolling out on task files, for tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
from functools import partial
from pathlib import Path

from lean_python import lean_python
from vandal import make_vandal

from turnmix.core.trajectory import Trajectory
from turnmix.core.verdict import Verdict
from turnmix.environments.repositories.archive.execution import executing
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.task_making.issue import TemplateIssueWriter
from turnmix.task_making.settings import MakeSettings
from turnmix.task_making.task_maker import TaskMaker

COMMITTED = "2026-01-01T00:00:00Z"
"""When every commit is made: tasks are named after commits, and a random student draws by its task's name."""

MAKE_SANDBOX = partial(make_row_sandbox, BubblewrapSettings().make)


def maker_into(output: Path, **settings: object) -> TaskMaker:
    return TaskMaker(
        settings=MakeSettings.model_validate({"output": output, "python": lean_python(), **settings}),
        execute=executing(MAKE_SANDBOX),
        writer=TemplateIssueWriter(),
        progress=lambda line: None,
    )


def source_of(path: Path, *, max_turns: int = 100) -> TaskFileSource:
    scaffold = ScaffoldSettings(max_turns=max_turns, max_tokens=1_000_000, no_output_seconds=100.0)
    return TaskFileSource(
        TaskFileSettings(path=path, holdout="all"), make_sandbox=MAKE_SANDBOX, scaffold=scaffold
    )


def grades(source: TaskFileSource, patches: dict[str, str]) -> dict[str, Verdict]:
    """The verdict on one patch for each task id."""

    async def grade_all() -> list[Verdict]:
        rows = {task.id: source.row(task) for task in source.tasks("holdout")}
        return await asyncio.gather(
            *(source.grader.grade(rows[name], patch.encode()) for name, patch in patches.items())
        )

    return dict(zip(patches, asyncio.run(grade_all())))


def oracle_trajectories(source: TaskFileSource, mixture: Mixture, *, iteration: int) -> list[Trajectory]:
    plans = make_plans(source.tasks("holdout"), iteration=iteration, seed=0, cohort_size=1, beta=None)
    return asyncio.run(
        collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=make_vandal(0),
                teacher=source.expert(),
                mixture=mixture,
                label=False,
                concurrency=2,
            )
        )
    )


def commit_all(directory: Path, message: str) -> str:
    """Commit everything in `directory`, a repository or not yet; the commit's id, the same in every run."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    dated = {**os.environ, "GIT_AUTHOR_DATE": COMMITTED, "GIT_COMMITTER_DATE": COMMITTED}
    for words in (("init", "-q"), ("add", "-A", "-f"), (*identity, "commit", "-q", "-m", message)):
        subprocess.run(["git", *words], cwd=directory, check=True, capture_output=True, env=dated)
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=directory, check=True, capture_output=True)
    return told.stdout.decode().strip()
