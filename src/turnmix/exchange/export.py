"""A run, or an evaluation, as files that other programs read.

In: its directory, which may be somebody else's, and which of its trajectories are asked for. Out: a file, or a
directory, whole or not at all, where nothing was.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import force_to_disk
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.redaction import redacted
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.core.untaught import Untaught
from turnmix.exchange.inspect_log import LogSubject, inspect_log
from turnmix.exchange.messages import all_label_rows, path_rows
from turnmix.store.append_log import TrajectoryLog
from turnmix.store.evaluation_directory import RESULTS
from turnmix.store.record_files import read_evaluation
from turnmix.store.run_directory import EVALUATION, RunDirectory

Holds = Callable[[Trajectory], bool]
_BATCH = re.compile(r"([ie])(\d{3,9})", re.ASCII)
_STAGES = {"i": "rollout", "e": "evaluate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    path: Path
    number: int
    """Of rows, or of logs."""
    num_trajectories: int
    """Of which they are."""
    left_out: dict[str, int]
    """Labels that no student should learn, by reason."""


def export_messages(
    run: Path, output: Path, *, holds: Holds, of_labels: bool = False, of_evaluations: bool = False
) -> Exported:
    """Write JSON lines: a row a line of a trajectory, or a row a label. An infra_error is none.

    of_evaluations: those of evaluations, in place of rollouts

    Raises:
        UserError: there is no run, nothing is to be written, or something is at `output` already.
    """
    _check_is_free(output)
    untaught: list[Untaught] = []
    written: set[str] = set()
    with closing(RunDirectory.read(run)) as directory:
        is_evaluation = of_evaluations or (run / EVALUATION).is_file()
        log = directory.evaluations if is_evaluation else directory.trajectories
        chosen = _noted(
            (each for each in _all(log) if each.stop_reason is not StopReason.infra_error and holds(each)),
            written,
        )
        rows = all_label_rows(chosen, untaught) if of_labels else chain.from_iterable(map(path_rows, chosen))
        number = _write_lines(output, rows)
    if not number:
        output.unlink()
        what = "labels, as methods without a teacher's label have none" if of_labels else "such trajectories"
        raise UserError(f"{run} holds no {what}: nothing was written")
    return Exported(
        path=output,
        number=number,
        num_trajectories=len(written),
        left_out=dict(Counter(each.objection.reason for each in untaught)),
    )


def export_inspect(run: Path, output: Path, *, model: str, tasks: str, holds: Holds) -> Exported:
    """Write a directory of Inspect's logs: one for each iteration's rollouts, and one for each evaluation.

    model, tasks: what the student and its tasks are called

    Raises:
        UserError: as above.
    """
    _check_is_free(output)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    number = num_trajectories = 0
    with closing(RunDirectory.read(run)) as directory:
        if (run / EVALUATION).is_file():
            model = read_evaluation(run / EVALUATION, fix="evaluate it again, in another directory")[
                "student"
            ]
        is_evaluated = (run / RESULTS).is_file()
        created = directory.begun() or datetime.fromtimestamp(run.stat().st_mtime)
        partial.mkdir(parents=True)
        for log in (directory.trajectories, directory.evaluations):
            for batch in log.batches:
                if (match := _BATCH.fullmatch(batch)) is None:
                    continue
                trajectories = [each for each in log.read(log.ids_of(batch)) if holds(each)]
                if not trajectories:
                    continue
                stage = _STAGES[match[1]]
                subject = LogSubject(
                    run=str(run),
                    stage=f"{stage}-{match[2]}",
                    model=model,
                    tasks=tasks,
                    created=created,
                    is_complete=is_evaluated or directory.stage_metrics(stage, int(match[2])) is not None,
                )
                _write_lines(partial / subject.file_name, [inspect_log(trajectories, subject)])
                number += 1
                num_trajectories += len(trajectories)
    if not number:
        shutil.rmtree(partial)
        raise UserError(f"{run} holds no such trajectories: nothing was written")
    os.replace(partial, output)
    return Exported(path=output, number=number, num_trajectories=num_trajectories, left_out={})


def _all(log: TrajectoryLog) -> Iterator[Trajectory]:
    return log.read(member for batch in log.batches for member in log.ids_of(batch))


def _noted(trajectories: Iterable[Trajectory], ids: set[str]) -> Iterator[Trajectory]:
    """The same ones; each one's id is added to `ids`."""
    for each in trajectories:
        ids.add(each.id)
        yield each


def _check_is_free(output: Path) -> None:
    if os.path.lexists(output):
        raise UserError(f"--output {output}: something is there already: name another place, or delete it")


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write JSON lines, whole or not at all; how many. Secrets of this process are in none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    number = 0
    try:
        partial.unlink(missing_ok=True)
        with open(partial, "x", encoding="ascii") as file:
            for row in rows:
                file.write(redacted(json_text(row)) + "\n")
                number += 1
        force_to_disk(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return number
