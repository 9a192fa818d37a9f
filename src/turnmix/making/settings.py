"""What `turnmix tasks make` is told, whichever way tasks are made."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, PositiveFloat

from turnmix.environments.swe.execution import TEST_REPORT, is_test_path
from turnmix.environments.swe.task_file import TaskRow
from turnmix.making.issue import IssueWriter
from turnmix.making.measurement import MakeSandbox
from turnmix.settings import Settings

ROOT = "/testbed"


class MakeSettings(Settings):
    """How tasks are made of a user's own code."""

    output: Path
    """The task file to write."""
    number: int = Field(default=100, ge=1)
    """Tasks to make at most."""
    seed: int = Field(default=0, ge=0)
    """Other seeds inject other bugs."""
    python: str = sys.prefix
    """The virtual environment with pytest and what else the tests need."""
    tests: tuple[str, ...] = ()
    """Test files to run, relative to the repository; none: every test_*.py and *_test.py."""
    pytest: tuple[str, ...] = ()
    """Further arguments of pytest."""
    timeout_seconds: PositiveFloat = 300.0
    """For one run of the tests."""
    jobs: int = Field(default=1, ge=1)
    """Sandboxes at one moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """Settings and what does the work."""

    settings: MakeSettings
    make_sandbox: MakeSandbox
    writer: IssueWriter
    progress: Callable[[str], None]
    """Told in one line what happened to each candidate."""


def is_test_module(path: str) -> bool:
    name = path.split("/")[-1]
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def draft_row(settings: MakeSettings, *, path: Path, archive: str, tree: list[str]) -> TaskRow:
    """A row that can run the tests of the repository at `path` with the files `tree`, and is no task yet."""
    sources = [f"{ROOT}/src", ROOT] if any(path.startswith("src/") for path in tree) else [ROOT]
    tests = settings.tests or tuple(sorted(filter(is_test_module, tree)))
    words = ["-q", "-p", "no:cacheprovider", *settings.pytest]
    arguments = " ".join(map(shlex.quote, (*words, "--rootdir=.", *tests)))
    script = f"unset PYTHONPATH\nexec python -s {TEST_REPORT} {' '.join(sources)} -- {arguments}\n"
    visible = " ".join(map(shlex.quote, (*words, *settings.tests)))
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
