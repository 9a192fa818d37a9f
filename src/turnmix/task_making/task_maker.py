"""What all ways of making tasks share: what does the work, and the row that can run a repository's tests."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from turnmix.core.errors import InfrastructureError
from turnmix.environments.repositories.archive.execution import TEST_REPORT, ExecuteTests
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.repositories.test_paths import is_test_path
from turnmix.task_making.issue import IssueWriter
from turnmix.task_making.settings import MakeSettings

ROOT = "/testbed"
ATTEMPTS = 2
"""At a candidate whose sandbox fails."""
EVERY_TEST = ("--continue-on-collection-errors", "--maxfail=0")
"""Arguments by which pytest goes on behind a module that it cannot import, and behind failures: a test that is
not run is one that fails."""
MOST_FAILURES = 5
"""Candidates in a row whose sandboxes failed at every attempt, after which no further one is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMaker:
    """Settings and what does the work."""

    settings: MakeSettings
    execute: ExecuteTests
    writer: IssueWriter
    progress: Callable[[str], None]
    """Told in one line what happened to each candidate."""
    heartbeat_seconds: float = 20.0
    """So often it is said of a long step that it goes on."""
    made: list[TaskRow] = field(default_factory=list)
    """Every row, once it is made: what there is when the making is stopped."""
    failures: list[InfrastructureError] = field(default_factory=list)
    """Of the last candidates in a row that were dropped because sandboxes failed."""

    async def attempt(self, name: str, make: Callable[[], Awaitable[TaskRow | None]]) -> TaskRow | None:
        """The row that `make` makes of the candidate `name`; None when it makes none, or sandboxes fail at it.

        Raises:
            InfrastructureError: they failed at so many candidates in a row that it is not the candidates.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self.said_while(name):
                    row = await make()
            except InfrastructureError as error:
                if attempt == ATTEMPTS:
                    self.progress(f"dropped: {name}: its sandbox failed {ATTEMPTS} times: {error}")
                    self.failures.append(error)
            else:
                self.failures.clear()
                if row is not None:
                    self.made.append(row)  # first: what is told of is not lost to a stop right behind it
                    self.progress(
                        f"made {row.instance_id} ({len(self.made)} of {self.settings.number}): {name}: "
                        f"{len(row.fail_to_pass)} tests fail without the fix"
                    )
                return row
        if len(self.failures) >= MOST_FAILURES:
            raise self.failures[-1]
        return None

    @asynccontextmanager
    async def said_while(self, name: str) -> AsyncIterator[None]:
        """Say now and then, inside, that the step `name` goes on, how long it has, and how much is made."""

        async def say() -> None:
            started = time.monotonic()
            while True:
                await asyncio.sleep(self.heartbeat_seconds)
                seconds = time.monotonic() - started
                made = f"{len(self.made)} of {self.settings.number} tasks made"
                self.progress(f"… {name}: {seconds:.0f} s; {made}")

        saying = asyncio.create_task(say())
        try:
            yield
        finally:
            saying.cancel()


def is_test_module(path: str) -> bool:
    name = path.split("/")[-1]
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def draft_row(settings: MakeSettings, *, path: Path, archive: str, tree: list[str]) -> TaskRow:
    """A row that can run the tests of the repository at `path` with the files `tree`, and is no task yet."""
    sources = [f"{ROOT}/src", ROOT] if any(path.startswith("src/") for path in tree) else [ROOT]
    tests = settings.tests or tuple(sorted(filter(is_test_module, tree)))
    words = ["-q", "-p", "no:cacheprovider"]
    arguments = " ".join(map(shlex.quote, (*words, *EVERY_TEST, *settings.pytest, "--rootdir=.", *tests)))
    script = f"unset PYTHONPATH\nexec python -s {TEST_REPORT} {' '.join(sources)} -- {arguments}\n"
    visible = " ".join(map(shlex.quote, (*words, *settings.pytest, *settings.tests)))
    return TaskRow(
        instance_id="draft",
        source="draft",
        repository=path.resolve().name,
        archive=archive,
        python_environment=settings.python,
        source_directories=tuple(sources),
        problem_statement="draft",
        gold_patch="draft",
        test_files=tuple(sorted(filter(is_test_path, tree))),
        fail_to_pass=("draft",),
        test_command=f"python -m pytest {visible}",
        evaluation_script=script,
        timeout_seconds=settings.timeout_seconds,
    )
