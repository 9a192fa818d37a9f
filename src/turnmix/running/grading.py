"""Predictions in SWE-bench's format, graded.

In: a file of them, and a recipe or a task file whose tasks they are for. Out: a verdict a task. Verdicts that this user
made before in equal conditions are taken from the user's own book; what lies beside the predictions is never read,
because whoever made these may have made that too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from turnmix import __version__
from turnmix.assembly.machine import check_machine
from turnmix.assembly.source import make_source
from turnmix.core.atomic_file import write_atomically
from turnmix.core.doors import check_settings
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.json_text import json_text
from turnmix.core.redaction import redacted
from turnmix.core.trajectory import Unfinished
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import TaskParts
from turnmix.environments.patch_verdict import PatchDetails
from turnmix.environments.repositories.grading import unjudged
from turnmix.environments.repositories.logs.test_log import reader_version, unknown_parser
from turnmix.environments.repositories.patch_text import decoded
from turnmix.environments.repositories.predictions import Prediction, read_predictions
from turnmix.environments.repositories.source import GradesPatches, TaskFileSettings
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.recipe.recipe import Recipe, load_recipe
from turnmix.recipe.recipe_file import validated
from turnmix.recipe.sections import EvaluationSettings
from turnmix.running.reporter import Reporter
from turnmix.sandboxes.selection import BubblewrapSettings, ContainerSandboxSettings
from turnmix.sandboxes.settings import SandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.store.verdict_book import VerdictBook

SOCKET, UNFINISHED = "sandbox.container.socket", "evaluation.unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """What predictions came to, by task."""

    num_tasks: int
    """Of the recipe."""
    num_predicted: int
    """Of those, so many have a prediction."""
    left: frozenset[str]
    """Those whose agent did not finish."""
    unfinished: Unfinished
    """What these count as."""
    book: Path
    """Where this user's verdicts are kept."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Why there is no verdict."""
    found: set[str] = field(default_factory=set)
    """The tasks whose verdicts were made before."""


def grade_file(
    file: Path,
    *,
    name: str,
    overrides: Sequence[str],
    again: bool,
    verdicts_in: str | None,
    reporter: Reporter,
) -> Graded:
    """Grade every prediction in `file`.

    In:
        file: the predictions.
        name: a recipe, or a task file.
        overrides: changes to it.
        again: make also the verdicts that are in the book.
        verdicts_in: the directory of the book; None: the user's own.
        reporter: is told what is not graded.

    Raises:
        UserError: the file, the recipe or the task file will not do.
    """
    predictions = read_predictions(file)
    opened = _open(name, overrides)
    rows = {row.instance_id.lower(): row for row in opened.source.rows}
    unknown = [p.instance_id for p in predictions if p.instance_id.lower() not in rows]
    if len(unknown) == len(predictions):
        raise UserError(f"{file}: none of its tasks, such as {unknown[0]}, is in {name}")
    if unknown:
        reporter.say(f"{len(unknown)} predictions are for other tasks, such as {unknown[0]}")
    known = [(rows[p.instance_id.lower()], p) for p in predictions if p.instance_id.lower() in rows]
    book = VerdictBook.open(verdicts_in, predictions=file)
    if (written := verdicts_file(file)).exists():
        reporter.say(f"{written} was there before; it is not read, and written anew")
    graded = Graded(
        num_tasks=len(rows),
        num_predicted=len(known),
        left=frozenset(row.instance_id for row, prediction in known if prediction.unfinished),
        unfinished=opened.unfinished,
        book=book.folder,
    )
    run_coroutine(_grade_all(known, graded, opened=opened, book=book, again=again))
    return graded


def verdicts_file(file: Path) -> Path:
    """Where the verdicts on a file of predictions go."""
    return Path(f"{file}.verdicts.jsonl")


def write_verdicts(path: Path, graded: Graded) -> None:
    """Raises UserError: the file cannot be written."""
    lines = [
        json_text(
            {
                "instance_id": name,
                "found": name in graded.found,
                "resolved": verdict.resolved,
                **verdict.details,
            }
        )
        for name, verdict in sorted(graded.verdicts.items())
    ]
    try:
        write_atomically(path, redacted("".join(f"{line}\n" for line in lines)))
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}: copy the predictions to where a file can be written beside them"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The tasks of a recipe, or of a task file alone, and how their predictions are graded."""

    source: GradesPatches
    sandbox: SandboxSettings
    concurrency: int = 4
    attempts: int = 3
    unfinished: Unfinished = "unresolved"


def _open(name: str, overrides: Sequence[str]) -> _Opened:
    """Of a task file alone: in containers where its tasks have images."""
    if not name.endswith(".jsonl"):
        recipe: Recipe = load_recipe(
            name, overrides, unused=("student", "teacher", "trackers", "tasks.dataset")
        )
        check_machine(recipe)
        source = make_source(recipe)
        if not isinstance(source, GradesPatches):
            raise UserError(f"{name}: its tasks come from no task file, so no patch can be graded: name one")
        return _Opened(
            source=source,
            sandbox=recipe.sandbox,
            concurrency=recipe.rollouts.concurrency,
            attempts=recipe.rollouts.attempts,
            unfinished=recipe.evaluation.unfinished,
        )
    settings = TaskFileSettings(path=Path(name), holdout="all")
    from turnmix.environments.repositories.task_file import load_rows

    has_images = any(row.image for row in load_rows(settings.path))
    given = {word.partition("=")[0]: word.partition("=")[2] for word in overrides}
    if wrong := [key for key in given if key not in (SOCKET, UNFINISHED)]:
        raise UserError(
            f"{wrong[0]}: with a task file only {SOCKET} and {UNFINISHED} can be set; name a recipe"
        )
    socket = {"container": {"socket": given[SOCKET]}} if SOCKET in given else {}
    sandbox: SandboxSettings = BubblewrapSettings()
    if has_images:
        sandbox = validated(ContainerSandboxSettings, socket, source="sandbox")
    chosen = {"unfinished": given[UNFINISHED]} if UNFINISHED in given else {}
    evaluation = validated(EvaluationSettings, chosen, source="evaluation")
    check_settings(sandbox)
    made = settings.make(TaskParts(make_sandbox=sandbox.make, scaffold=ScaffoldSettings(), seed=0))
    return _Opened(source=made, sandbox=sandbox, unfinished=evaluation.unfinished)


async def _grade_all(
    known: Sequence[tuple[TaskRow, Prediction]],
    graded: Graded,
    *,
    opened: _Opened,
    book: VerdictBook,
    again: bool,
) -> None:
    verdicts, failures = graded.verdicts, graded.failures
    slots = asyncio.Semaphore(opened.concurrency)

    async def grade(row: TaskRow, prediction: Prediction) -> None:
        patch = (prediction.model_patch or "").encode(errors="surrogateescape")
        if prediction.unfinished and opened.unfinished == "unresolved":
            verdicts[row.instance_id] = unjudged(row, patch)
            return
        key = _key(row, patch, opened.sandbox)
        if not again and (found := _found(book, key, patch=decoded(patch))) is not None:
            verdicts[row.instance_id] = found
            graded.found.add(row.instance_id)
            return
        if row.image is not None and (problem := unknown_parser(row.log_parser)):
            failures[row.instance_id] = f"log_parser: {problem}"
            return
        async with slots:
            for attempt in range(1, opened.attempts + 1):
                try:
                    verdict = await opened.source.grader.grade(row, patch)
                    break
                except InfrastructureError as error:
                    failures[row.instance_id] = str(error)
                    if attempt == opened.attempts:
                        return
        failures.pop(row.instance_id, None)
        verdicts[row.instance_id] = verdict
        # The key stands for the patch too, which may be long.
        kept = {name: value for name, value in verdict.details.items() if name != "patch"}
        book.keep(key, replace(verdict, details=kept))

    await asyncio.gather(*(grade(row, prediction) for row, prediction in known))


def _found(book: VerdictBook, key: str, *, patch: str) -> Verdict | None:
    """The verdict on `patch` that was made before; None: there is none, or it is damaged."""
    if (found := book.find(key)) is None:
        return None
    verdict = replace(found, details={**found.details, "patch": patch})
    try:
        PatchDetails.of(verdict)
    except ValueError:
        return None
    return verdict


def _key(row: TaskRow, patch: bytes, sandbox: SandboxSettings) -> str:
    """Of one patch of one task: with another script, other tests, another machine, another reader of their
    log or another grader the verdict may be another."""
    versions = {"reader": reader_version(row), "turnmix": __version__}
    conditions = json_text({"sandbox": sandbox.conditions(), **versions}, sort_keys=True)
    parts = (row.model_dump_json().encode(), conditions.encode(), patch)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
