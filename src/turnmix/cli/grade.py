"""`turnmix grade`: a file of predictions in SWE-bench's format in; resolved k of n out, and a verdict a task."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from turnmix.assembly import check_machine, make_source
from turnmix.cli.console import make_console, say
from turnmix.cli.words import names_and_overrides
from turnmix.config import EvaluationSettings, Recipe, load_recipe
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.json_text import json_text, json_value
from turnmix.core.own_file import open_own
from turnmix.core.printable import printable_line
from turnmix.core.redaction import redacted
from turnmix.core.trajectory import Unfinished, Verdict
from turnmix.environments.swe.grading import verdict as unjudged
from turnmix.environments.swe.predictions import Prediction, read_predictions
from turnmix.environments.swe.row_sandbox import make_row_sandbox
from turnmix.environments.swe.source import TaskFileSettings, TaskFileSource
from turnmix.environments.swe.task_file import TaskRow
from turnmix.environments.swe.test_log import reader_version, unknown_parser
from turnmix.evaluation.interval import wilson
from turnmix.recipe_file import validated
from turnmix.sandboxes.selection import SandboxSettings, check_sandbox
from turnmix.scaffold.scaffold import ScaffoldSettings

SOCKET, UNFINISHED = "sandbox.container.socket", "evaluation.unfinished"


def grade_predictions(file: str, *, words: Sequence[str]) -> None:
    """Grade every prediction, print the sum, and write `FILE.verdicts.jsonl`. Verdicts found there that
    were made in equal sandboxes are not made again.

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
    book = Path(f"{file}.verdicts.jsonl")
    verdicts, failures = asyncio.run(_grade_all(known, opened=opened, book=book))
    left = {row.instance_id for row, prediction in known if prediction.unfinished}
    is_counted_only = opened.unfinished == "unresolved"
    for name, verdict in sorted(verdicts.items()):
        untried = "unfinished" if name in left and is_counted_only else "empty patch"
        state = "resolved" if verdict.resolved else "unresolved" if verdict.submitted else untried
        say(console, f"{name}: {state}, {verdict.passed} of {verdict.passed + verdict.failed} tests")
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
    say(console, printable_line(f"of {len(rows)} tasks, {len(known)} were predicted; verdicts: {book}"))
    if failures:
        raise InfrastructureError(f"{len(failures)} of {len(known)} predictions could not be graded")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The tasks of a recipe, or of a task file alone, and how their predictions are graded."""

    source: TaskFileSource
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
        if not isinstance(source, TaskFileSource):
            raise UserError(f"{name}: its tasks come from no task file, so no patch can be graded: name one")
        return _Opened(
            source=source,
            sandbox=recipe.sandbox,
            concurrency=recipe.rollouts.concurrency,
            attempts=recipe.rollouts.attempts,
            unfinished=recipe.evaluation.unfinished,
        )
    settings = TaskFileSettings(path=Path(name), holdout="all")
    from turnmix.environments.swe.task_file import load_rows

    kind = "container" if any(row.image for row in load_rows(settings.path)) else "bubblewrap"
    given = {word.partition("=")[0]: word.partition("=")[2] for word in overrides}
    if wrong := [key for key in given if key not in (SOCKET, UNFINISHED)]:
        raise UserError(
            f"{wrong[0]}: with a task file only {SOCKET} and {UNFINISHED} can be set; name a recipe"
        )
    container = {"socket": given[SOCKET]} if SOCKET in given else {}
    sandbox = validated(SandboxSettings, {"kind": kind, "container": container}, source="sandbox")
    chosen = {"unfinished": given[UNFINISHED]} if UNFINISHED in given else {}
    evaluation = validated(EvaluationSettings, chosen, source="evaluation")
    check_sandbox(sandbox)
    made = TaskFileSource(
        settings, make_sandbox=partial(make_row_sandbox, sandbox), scaffold=ScaffoldSettings()
    )
    return _Opened(source=made, sandbox=sandbox, unfinished=evaluation.unfinished)


async def _grade_all(
    known: Sequence[tuple[TaskRow, Prediction]],
    *,
    opened: _Opened,
    book: Path,
) -> tuple[dict[str, Verdict], dict[str, str]]:
    found = _read_book(book)
    verdicts: dict[str, Verdict] = {}
    failures: dict[str, str] = {}
    slots = asyncio.Semaphore(opened.concurrency)

    async def grade(row: TaskRow, prediction: Prediction) -> None:
        patch = (prediction.model_patch or "").encode(errors="surrogateescape")
        if prediction.unfinished and opened.unfinished == "unresolved":
            verdicts[row.instance_id] = unjudged(row, None, patch, submitted=False)
            return
        key = _key(row, patch, opened.sandbox)
        if key in found:
            verdicts[row.instance_id] = found[key]
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
        line = {"instance_id": row.instance_id, "key": key, **verdict.to_json()}
        _note(book, redacted(json_text(line)))

    await asyncio.gather(*(grade(row, prediction) for row, prediction in known))
    return verdicts, failures


def _key(row: TaskRow, patch: bytes, sandbox: SandboxSettings) -> str:
    """Of one patch of one task: with another script, other tests, another machine or another reader of their
    log the verdict may be another."""
    conditions = json_text({"sandbox": sandbox.conditions(), "reader": reader_version(row)}, sort_keys=True)
    parts = (row.model_dump_json().encode(), conditions.encode(), patch)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _note(book: Path, line: str) -> None:
    with open(open_own(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a", encoding="utf-8") as file:
        file.write(line + "\n")


def _read_book(book: Path) -> dict[str, Verdict]:
    """Verdicts made before; a line that was cut off is made again."""
    found: dict[str, Verdict] = {}
    if book.is_file():
        for line in book.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                data = json_value(line)
                fields = ("resolved", "submitted", "passed", "failed", "patch")
                found[data["key"]] = Verdict(**{name: data[name] for name in fields})
            except (ValueError, KeyError, TypeError):
                continue
    return found
