"""The task file: one JSON line a task, the same for every source, complete without a network.

In: untrusted text. Out: validated rows, each bad row named with what is wrong, and a seeded holdout.
A row's repository is an image, or a tar archive beside the task file for code that has no image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import bounded_lines
from turnmix.core.errors import UserError
from turnmix.core.json_text import MOST_BYTES, json_text, json_value
from turnmix.core.settings import Settings
from turnmix.environments.environment import Split
from turnmix.environments.held_out import held_out

IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
MOST_ERRORS_SHOWN = 20
MOST_REJECTIONS = 10_000
"""A file of so many rows that are none is no task file, and is read no further."""


class TaskRow(Settings):
    """One task of a task file. The agent is shown the problem statement and the repository, nothing else."""

    instance_id: str = Field(pattern=IDENTIFIER, max_length=200)
    """Names the task; unique in its file."""
    source: str = Field(min_length=1)
    """Where the task is from, such as `injection`, `revisions` or a dataset's name."""
    repository: str = Field(min_length=1)
    """The repository's name, such as owner/name."""
    base_commit: str = ""
    """The commit that the agent starts from; empty for an archive, which is committed as it is laid."""
    archive: str | None = Field(default=None, pattern=r"^archives/[0-9a-f]{64}\.tar\.gz$")
    """The repository's tree, as a path relative to the task file that holds the tree's own digest."""
    image: str | None = None
    """The container image that holds the repository."""
    base_patch: str = ""
    """Applied to the tree before the agent comes: the bug, and the removal of the tests that show it."""
    working_directory: str = Field(default="/testbed", pattern=r"^/")
    """Where the repository is."""
    python_environment: str | None = None
    """A virtual environment of this machine with what the tests need, shown inside a bubblewrap sandbox."""
    source_directories: tuple[str, ...] = ()
    """Absolute directories to import the repository's packages from, before all others."""
    activation: str = ""
    """Shell commands that make the image's own environment the current one."""
    setup_script: str = ""
    """Shell commands, run in the image's repository before the agent or the patch comes."""
    has_history: bool = True
    """False: the agent gets the image's repository as one commit, because its history shows the fix."""
    hidden_paths: tuple[str, ...] = Field(default=())
    """Absolute paths of the image that the agent must not see: removed before it comes, there for the tests."""
    problem_statement: str = Field(min_length=1)
    """The issue."""
    gold_patch: str = Field(min_length=1)
    """The fix, as a diff against what the agent starts from."""
    test_patch: str = ""
    """The tests that the agent does not get, as a diff against what it starts from."""
    test_files: tuple[str, ...] = ()
    """Files (with the test patch applied) that are put back before the tests run: tests and their
    configuration. Empty where the evaluation script does it."""
    fail_to_pass: tuple[str, ...] = Field(min_length=1)
    """Tests that fail before the fix and pass after it."""
    pass_to_pass: tuple[str, ...] = ()
    """Tests that pass before and after it."""
    test_command: str = Field(min_length=1)
    """What an agent runs in the working directory in order to test."""
    evaluation_script: str = Field(min_length=1)
    """The shell script that runs the tests for the verdict."""
    log_parser: str = "pytest"
    """What reads the script's log: `pytest` for TurnMix's own report, else a parser of swebench, or `r2e`."""
    evaluation_type: Literal["pass_and_fail", "fail_only"] = "pass_and_fail"
    """fail_only: for test runners that name failures alone; a test that is not named has passed."""
    timeout_seconds: PositiveFloat = 1800.0
    """For the evaluation script; a test run that takes longer is unresolved."""

    @model_validator(mode="after")
    def _consistent(self) -> TaskRow:
        if (self.archive is None) == (self.image is None):
            raise ValueError("give either archive or image")
        if both := sorted({*self.fail_to_pass} & {*self.pass_to_pass}):
            raise ValueError(f"{both[0]} is in fail_to_pass and in pass_to_pass")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A row that is no task."""

    line: int
    """From 1."""
    instance_id: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} ({self.instance_id}): {self.reason}"


def read_rows(path: Path) -> tuple[list[TaskRow], list[Rejection]]:
    """The tasks of a file, and the rows that are none.

    Raises:
        UserError: the file cannot be read.
    """
    rows: list[TaskRow] = []
    rejections: list[Rejection] = []
    try:
        for found in _found_rows(path):
            if isinstance(found, TaskRow):
                rows.append(found)
            else:
                rejections.append(found)
            if len(rejections) == MOST_REJECTIONS:
                break
    except FileNotFoundError as error:
        raise UserError(
            f"tasks.path: {path} is not there: write it with `turnmix tasks prepare RECIPE`, where the recipe names a "
            "tasks.dataset, or with `turnmix tasks make`, of your own code"
        ) from error
    except OSError as error:
        raise UserError(f"tasks.path: {path}: {error.strerror}: name a task file") from error
    return rows, rejections


def _found_rows(path: Path) -> Iterator[TaskRow | Rejection]:
    seen: set[str] = set()
    for number, line in enumerate(bounded_lines(path, longest=MOST_BYTES), start=1):
        if not line.strip():
            continue
        row, name, reason = _read_row(line)
        if row is not None and row.instance_id in seen:
            reason = "instance_id: another row has it too"
        elif row is not None and row.archive is not None and not (path.parent / row.archive).is_file():
            reason = f"archive: {path.parent / row.archive} is not there"
        if row is None or reason:
            yield Rejection(line=number, instance_id=name, reason=reason)
        else:
            seen.add(row.instance_id)
            yield row


def _read_row(line: bytes) -> tuple[TaskRow | None, str, str]:
    name = "no instance_id"
    try:
        data = json_value(line)
        if isinstance(data, dict):
            name = str(data.get("instance_id", name))[:200]
        row = TaskRow.model_validate(data)
    except ValueError as error:
        if not isinstance(error, ValidationError):
            return None, name, f"not JSON ({error})"
        faults = error.errors(include_url=False)
        return (
            None,
            name,
            "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'row'}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in faults
            ),
        )
    return row, row.instance_id, ""


def load_rows(path: Path) -> list[TaskRow]:
    """The tasks of a file. Raises UserError for a file with no task, or with a row that is none."""
    rows, rejections = read_rows(path)
    if rejections:
        told = [f"tasks.path: {path}: {rejection}" for rejection in rejections[:MOST_ERRORS_SHOWN]]
        more = len(rejections) - len(told)
        raise UserError(*told, *([f"… and {more} more"] if more else []))
    if not rows:
        raise UserError(f"tasks.path: {path} holds no task")
    return rows


def write_rows(path: Path, rows: Iterable[TaskRow]) -> None:
    """Write a task file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json_text(row.model_dump(mode="json", exclude_defaults=True)) + "\n" for row in rows]
    write_atomically(path, "".join(lines))


def split_rows(rows: Sequence[TaskRow], *, holdout: int, seed: int) -> dict[Split, list[TaskRow]]:
    """Each split's rows, in the file's order. The holdout depends on the ids and the seed, not on the order."""
    chosen = held_out([row.instance_id for row in rows], number=holdout, seed=seed)
    return {
        "train": [row for row in rows if row.instance_id not in chosen],
        "holdout": [row for row in rows if row.instance_id in chosen],
    }
