"""`turnmix grade`: a file of predictions in SWE-bench's format in; resolved k of n out, and a verdict a task.

Verdicts that this user made before in equal conditions are taken from the user's own book; what lies beside the
predictions is never read, because whoever made these may have made that too.
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
from turnmix.cli.arguments import names_and_overrides
from turnmix.core.atomic_file import write_atomically
from turnmix.core.doors import check_settings
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.json_text import json_text
from turnmix.core.printable import printable_line
from turnmix.core.redaction import redacted
from turnmix.core.trajectory import Unfinished, Verdict
from turnmix.environments.environment import TaskParts
from turnmix.environments.patch_verdict import PatchDetails
from turnmix.environments.repositories.grading import unjudged
from turnmix.environments.repositories.logs.test_log import reader_version, unknown_parser
from turnmix.environments.repositories.patch_text import decoded
from turnmix.environments.repositories.predictions import Prediction, read_predictions
from turnmix.environments.repositories.source import GradesPatches, TaskFileSettings
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.evaluation.interval import wilson
from turnmix.recipe.recipe import Recipe, load_recipe
from turnmix.recipe.recipe_file import validated
from turnmix.recipe.sections import EvaluationSettings
from turnmix.sandboxes.selection import BubblewrapSettings, ContainerSandboxSettings
from turnmix.sandboxes.settings import SandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.store.verdict_book import VerdictBook
from turnmix.viewing.console import make_console, say

SOCKET, UNFINISHED = "sandbox.container.socket", "evaluation.unfinished"


def grade_predictions(
    file: str, *, words: Sequence[str], again: bool = False, verdicts_in: str | None = None
) -> None:
    """Grade every prediction, print the sum, and write `FILE.verdicts.jsonl`.

    Args:
        file: the predictions.
        words: a recipe or a task file, and changes.
        again: make also the verdicts that are in the book.
        verdicts_in: the directory of the book; None: the user's own.

    Raises:
        UserError: the file, the recipe or the task file will not do.
        InfrastructureError: a prediction could not be graded after all attempts.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if not names:
        raise UserError("name a recipe, or a task file, whose tasks the predictions are for")
    predictions = read_predictions(Path(file))
    opened = _open(names[0], overrides)
    rows = {row.instance_id.lower(): row for row in opened.source.rows}
    unknown = [p.instance_id for p in predictions if p.instance_id.lower() not in rows]
    if len(unknown) == len(predictions):
        raise UserError(f"{file}: none of its tasks, such as {unknown[0]}, is in {names[0]}")
    console = make_console()
    if unknown:
        told = f"{len(unknown)} predictions are for other tasks, such as {unknown[0]}"
        say(console, printable_line(told))
    known = [(rows[p.instance_id.lower()], p) for p in predictions if p.instance_id.lower() in rows]
    book = VerdictBook.open(verdicts_in, predictions=Path(file))
    written = Path(f"{file}.verdicts.jsonl")
    if written.exists():
        say(console, printable_line(f"{written} was there before; it is not read, and written anew"))
    graded = run_coroutine(_grade_all(known, opened=opened, book=book, again=again))
    verdicts, failures = graded.verdicts, graded.failures
    left = {row.instance_id for row, prediction in known if prediction.unfinished}
    is_counted_only = opened.unfinished == "unresolved"
    for name, verdict in sorted(verdicts.items()):
        untried = "unfinished" if name in left and is_counted_only else "empty patch"
        details = PatchDetails.of(verdict)
        state = "resolved" if verdict.resolved else "unresolved" if details.submitted else untried
        counts = f"{details.passed} of {details.passed + details.failed} tests"
        unused = f"; not used: {', '.join(details.set_aside)}" if details.set_aside else ""
        say(console, printable_line(f"{name}: {state}, {counts}{unused}"))
    for name, reason in sorted(failures.items()):
        say(console, printable_line(f"{name}: not graded: {reason}"))
    resolved, number = sum(v.resolved for v in verdicts.values()), len(verdicts)
    low, high = wilson(resolved, number)
    if number:
        console.print(
            f"resolved: {resolved} of {number} = {resolved / number:.1%} ({low:.1%} – {high:.1%})",
            style="bold",
        )
    if left:
        became = (
            "count as unresolved: evaluation.unfinished=graded grades them"
            if is_counted_only
            else "were graded (evaluation.unfinished)"
        )
        say(console, f"{len(left)} unfinished, which {became}")
    if graded.found:
        told = f"{len(graded.found)} of {number} verdicts found in {book.folder}, and not made now"
        say(console, printable_line(f"{told}: --again makes them again"))
    if verdicts:
        _write(written, graded)
    say(console, printable_line(f"of {len(rows)} tasks, {len(known)} were predicted; verdicts: {written}"))
    if failures:
        raise InfrastructureError(f"{len(failures)} of {len(known)} predictions could not be graded")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graded:
    """What predictions came to, by task."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Why there is no verdict."""
    found: set[str] = field(default_factory=set)
    """The tasks whose verdicts were made before."""


def _write(path: Path, graded: _Graded) -> None:
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
    *,
    opened: _Opened,
    book: VerdictBook,
    again: bool,
) -> _Graded:
    graded = _Graded()
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
    return graded


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
