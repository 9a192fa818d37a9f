"""What `turnmix analyse` keeps beside the trajectories for their failure modes: a directory in that of an analysis.

failures/outlines.jsonl   where each task is solved, as far as its source tells
failures/judge.json       who judges: all that an answer depends on
failures/answers.jsonl    what a judge answered, by a digest of what it was asked

Modes are not kept: they follow from these and from the trajectories, and come to the same every time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from turnmix.analysis.failures.judge import Judge, Judgement
from turnmix.core.atomic_file import write_atomically
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text, read_json_file
from turnmix.core.own_file import open_own_directory
from turnmix.core.printable import printable_line
from turnmix.environments.solution_outline import SolutionOutline
from turnmix.store.analysis_directory import FAILURE_RECORDS
from turnmix.store.append_log import FIX, AppendLog
from turnmix.store.records import Count, Figure, Record, checked

_OUTLINES, _JUDGE, _ANSWERS = "outlines.jsonl", "judge.json", "answers.jsonl"


class _OutlineRecord(Record):
    id: str
    paths: list[str]
    passing_before: Count | None = None


class _JudgeRecord(Record):
    model: str
    temperature: Figure | None
    top_p: Figure | None
    max_new_tokens: Count
    max_material_characters: Annotated[int, Field(ge=2_000, le=1 << 30)]
    further: str
    prompt: Annotated[str, Field(max_length=1 << 20)]


class _UsageRecord(Record):
    requests: Count
    retries: Count
    input_tokens: Count
    output_tokens: Count
    cached_tokens: Count


class _AnswerRecord(Record):
    id: str
    text: str | None
    usage: _UsageRecord


@dataclass(frozen=True, slots=True)
class FailureRecords:
    """Those of the analysis in `analysis`. Whatever is not there is nothing."""

    analysis: Path

    @property
    def path(self) -> Path:
        return self.analysis / FAILURE_RECORDS

    def outlines(self) -> dict[str, SolutionOutline]:
        """By task. Raises UserError: a record is damaged."""
        return {
            record["id"]: SolutionOutline(
                paths=frozenset(record["paths"]), passing_before=record.get("passing_before")
            )
            for record in self._records(_OUTLINES, _OutlineRecord)
        }

    def judge(self) -> Judge | None:
        """The last that was asked; None: none was. Raises UserError: the record is damaged."""
        path = self.path / _JUDGE
        if self.path.is_symlink() or not os.path.lexists(path):
            return None
        fix = "delete it, and analyse again with --judge"
        data = read_json_file(path, fix=fix)
        checked(data, _JudgeRecord, where=str(path), fix=fix)
        return Judge(**{name: data[name] for name in Judge.__dataclass_fields__})

    def answers(self) -> dict[str, Judgement]:
        """By question, of every judge. Raises UserError: a record is damaged."""
        return {
            record["id"]: Judgement.from_json(record) for record in self._records(_ANSWERS, _AnswerRecord)
        }

    @contextmanager
    def writing(self) -> Iterator[FailureWriter]:
        """One process at a time may be in here: whoever holds the analysis.

        Raises:
            UserError: it cannot be written, or a link leads elsewhere.
        """
        try:
            descriptor = open_own_directory(self.path, is_made=True)
            logs = [AppendLog(self.path / name, directory=descriptor) for name in (_OUTLINES, _ANSWERS)]
        except OSError as error:
            raise UserError(f"{error.filename or self.path}: {error.strerror}") from error
        try:
            yield FailureWriter(self.path, descriptor, *logs)
        finally:
            for log in logs:
                log.close()
            os.close(descriptor)

    def _records(self, name: str, schema: type[Record]) -> Iterator[dict[str, Any]]:
        path = self.path / name
        if self.path.is_symlink() or not os.path.lexists(path):
            return
        log = AppendLog(path, is_writable=False)
        for record in log.records(log.ids):
            where = printable_line(f"{path}: the record {record['id']}")
            yield checked(record, schema, where=where, fix=FIX)


class FailureWriter:
    """Adds to the records. Made by `FailureRecords.writing`, never directly."""

    def __init__(self, path: Path, descriptor: int, outlines: AppendLog, answers: AppendLog) -> None:
        self._path = path
        self._descriptor = descriptor
        self._outlines = outlines
        self._answers = answers

    def keep_outline(self, task_id: str, outline: SolutionOutline) -> None:
        self._outlines.append_record(
            {
                "id": task_id,
                "paths": sorted(outline.paths),
                **({} if outline.passing_before is None else {"passing_before": outline.passing_before}),
            }
        )

    def keep_judge(self, judge: Judge) -> None:
        text = json_text(asdict(judge), indent=2) + "\n"
        write_atomically(self._path / _JUDGE, text, directory=self._descriptor)

    def keep_answer(self, question_id: str, judgement: Judgement) -> None:
        self._answers.append_record({"id": question_id, **judgement.to_json()})
