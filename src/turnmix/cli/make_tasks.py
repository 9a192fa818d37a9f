"""`turnmix tasks make`: a task file of a user's own code."""

from __future__ import annotations

import argparse
import random
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from turnmix.cluster.settings import ClusterSettings
from turnmix.core.doors import check_settings
from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.printable import printable_line
from turnmix.environments.repositories.archive.execution import ExecuteTests, executing
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.task_file import TaskRow, write_rows
from turnmix.policies.endpoint.check import must_answer
from turnmix.policies.endpoint.policy import EndpointPolicy
from turnmix.policies.endpoint.settings import EndpointSettings
from turnmix.sandboxes.python_environment import find_python_environment
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.task_making.settings import MakeSettings
from turnmix.viewing.console import make_console


def make_tasks(options: argparse.Namespace) -> None:
    """Make the tasks, write their file and say how to train on them. Tasks that were made before the making
    failed, or was stopped, are written too.

    Raises:
        UserError: the arguments, or the repository, will not do.
        InfrastructureError: sandboxes fail.
    """
    try:
        from turnmix.task_making.from_repository import make_from_repository
        from turnmix.task_making.from_revisions import make_from_revisions
        from turnmix.task_making.issue import PolicyIssueWriter, TemplateIssueWriter
        from turnmix.task_making.task_maker import TaskMaker
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"making tasks needs {error.name}: pip install 'turnmix[tasks]'"
        ) from error
    settings = _settings(options)
    cluster = _cluster(options)
    console = make_console()
    policy = _endpoint(options)

    def progress(line: str) -> None:
        console.print(printable_line(line))

    writer = TemplateIssueWriter() if policy is None else PolicyIssueWriter(policy)
    workers = 1 if cluster is None else cluster.rollout_workers
    made: list[TaskRow] = []

    async def run(execute: ExecuteTests) -> list[TaskRow]:
        maker = TaskMaker(
            settings=settings.model_copy(update={"jobs": settings.jobs * workers}),
            execute=execute,
            writer=writer,
            progress=progress,
            made=made,
        )
        try:
            if policy is not None:
                await must_answer(policy)
            if options.from_repository is not None:
                return await make_from_repository(Path(options.from_repository), maker)
            path, old, new = options.from_revisions
            return await make_from_revisions(Path(path), old, new, maker)
        finally:
            if policy is not None:
                await policy.close()
            if isinstance(writer, PolicyIssueWriter) and writer.num_replaced:
                progress(f"{writer.num_replaced} issue texts are by template: the model's would not do")

    try:
        with _executing(settings, cluster, say=progress) as execute:
            rows = run_coroutine(run(execute))
    except BaseException:
        _write_unfinished(settings.output, made, progress)
        raise
    write_rows(settings.output, rows)
    console.print(printable_line(f"{len(rows)} tasks in {settings.output}"), style="bold")
    if advice := training_advice(settings.output, len(rows)):
        console.print(printable_line(advice), soft_wrap=True)


@contextmanager
def _executing(
    settings: MakeSettings, cluster: ClusterSettings | None, *, say: Callable[[str], None]
) -> Iterator[ExecuteTests]:
    """Inside, what runs tests."""
    if cluster is not None:
        from turnmix.cluster.executions import cluster_executions

        name = f"tasks-{settings.output.stem}"
        with cluster_executions(
            cluster, name=name, python=settings.python, concurrency=settings.jobs, say=say
        ) as execute:
            yield execute
        return
    sandbox = BubblewrapSettings()
    check_settings(sandbox)
    find_python_environment(settings.python)
    yield executing(partial(make_row_sandbox, sandbox.make))


def training_advice(path: Path, number: int) -> str:
    """How to train on so many tasks; empty where one cannot be held out."""
    if number < 2:
        return ""
    held_out = max(1, number // 5)
    return f"Train on them: turnmix train RECIPE tasks.path={shlex.quote(str(path))} tasks.holdout={held_out}"


def _write_unfinished(output: Path, made: list[TaskRow], progress: Callable[[str], None]) -> None:
    """Into the task file, or beside one that is there already: it may hold more."""
    if made:
        path = output.with_name(f"{output.stem}.unfinished{output.suffix}") if output.exists() else output
        write_rows(path, made)
        progress(f"not finished: the {len(made)} tasks made so far are in {path}")


def _settings(options: argparse.Namespace) -> MakeSettings:
    given = {
        "output": options.output,
        "number": options.number,
        "seed": options.seed,
        "python": options.python,
        "tests": None if options.tests is None else tuple(options.tests),
        "pytest": None if options.pytest is None else tuple(shlex.split(options.pytest)),
        "timeout_seconds": options.timeout,
        "jobs": options.jobs,
    }
    try:
        return MakeSettings.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0]).removesuffix("_seconds")
        raise UserError(f"--{name} {fault['input']}: {fault['msg']}") from error


def _cluster(options: argparse.Namespace) -> ClusterSettings | None:
    if options.cluster is None:
        if options.workers is not None:
            raise UserError(
                f"--workers {options.workers}: of which cluster? Add --cluster auto, local or host:port"
            )
        return None
    given = {"address": options.cluster, "rollout_workers": options.workers}
    try:
        return ClusterSettings.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = "--cluster" if fault["loc"] == ("address",) else "--workers"
        raise UserError(f"{name} {fault['input']}: {fault['msg'].removeprefix('Value error, ')}") from error


def _endpoint(options: argparse.Namespace) -> EndpointPolicy | None:
    if (options.issues_endpoint is None) != (options.issues_model is None):
        raise UserError("--issues-endpoint and --issues-model go together: give both or none")
    if options.issues_endpoint is None:
        return None
    settings = EndpointSettings(endpoint=options.issues_endpoint, model=options.issues_model)
    return EndpointPolicy(settings, name="issues", generator=random.Random(0))
