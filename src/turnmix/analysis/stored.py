"""Analyses read from a run: what `turnmix analyse` stored of each checkpoint.

In: a run's directory. Out: trajectories with their scores, and tables made anew of them. Nothing is rolled out or
loaded, and nothing that a recipe names is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.analysis.scored import ScoredTrajectory, TurnScore
from turnmix.analysis.table import Table
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.trajectory import Trajectory
from turnmix.store.analysis_directory import (
    OF_ANALYSIS,
    TEACHER,
    analysed_iterations,
    analysis_path,
    rollout_names,
    rollouts_path,
    scores_path,
    teacher_path,
)
from turnmix.store.analysis_records import TurnScoresRecord
from turnmix.store.append_log import FIX, AppendLog, TrajectoryLog
from turnmix.store.place import ANALYSIS
from turnmix.store.record_files import read_analysis
from turnmix.store.records import checked


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnalysis:
    """What a directory holds of one checkpoint's analysis. Each question reads anew what is there by then."""

    run: Path
    path: Path
    iteration: int
    """Of the checkpoint; 0: the student before any training."""
    num_tasks: int
    student: str
    """Where it lay."""
    weights: str | None
    """A digest of its files; None: a hub id."""

    @property
    def rollout_names(self) -> list[str]:
        """Those of which there is any trajectory: `own`, `teacher`, `breaking`, `harmless`, `headroom-KINDS`."""
        return [name for name in _names(self) if _held(self._log_path(name))]

    def is_whole(self, name: str) -> bool:
        """Is there a trajectory of each task?"""
        return len(_held(self._log_path(name))) >= self.num_tasks

    def rollouts(self, name: str) -> list[Trajectory]:
        """The trajectories of a rollout, in the order of their tasks, failures of the infrastructure among them; none
        where there is no such rollout. Raises UserError: one is damaged."""
        path = self._log_path(name)
        if not os.path.lexists(path):
            return []
        log = TrajectoryLog(path, is_writable=False)
        return list(log.read(in_order(log.ids)))

    def scored(self, name: str) -> list[ScoredTrajectory]:
        """The same with what was said of each turn. Raises UserError: a record is damaged."""
        path = scores_path(self.path, name)
        log = AppendLog(path, is_writable=False)
        return [
            ScoredTrajectory(trajectory=trajectory, scores=_scores_of(trajectory, log))
            for trajectory in self.rollouts(name)
        ]

    def tables(self, instruments: Sequence[str] | None = None) -> list[Table]:
        """What the stored files come to. `instruments`: those asked for; None: all that have something to say."""
        from turnmix.analysis.instruments import tables_of

        return tables_of([self], instruments)

    def _log_path(self, name: str) -> Path:
        return rollouts_path(teacher_path(self.run) if name == TEACHER else self.path, name)


def stored_analyses(run: str | os.PathLike[str]) -> list[StoredAnalysis]:
    """Those of a run, in the order of iterations; none where it was not analysed. Raises UserError: one is damaged."""
    run = Path(run)
    return [stored_analysis(run, iteration) for iteration in analysed_iterations(run)]


def stored_analysis(run: Path, iteration: int) -> StoredAnalysis:
    """Raises UserError: it is damaged."""
    path = analysis_path(run, iteration)
    of = read_analysis(path / ANALYSIS, fix=OF_ANALYSIS.fix)
    return StoredAnalysis(
        run=run,
        path=path,
        iteration=iteration,
        num_tasks=of["num_tasks"],
        student=of["student"],
        weights=of.get("weights"),
    )


def _names(analysis: StoredAnalysis) -> Iterator[str]:
    yield from rollout_names(analysis.path)
    if os.path.lexists(rollouts_path(teacher_path(analysis.run), TEACHER)):
        yield TEACHER


def _held(path: Path) -> Sequence[str]:
    return AppendLog(path, is_writable=False).ids if os.path.lexists(path) else ()


def checkpoint_titles(analyses: Sequence[StoredAnalysis]) -> list[str]:
    """What each student is called beside the others: its run is named where there are several."""
    runs = {each.run for each in analyses}
    names = [each.run.name or str(each.run) for each in analyses]
    stages = ["base student" if each.iteration == 0 else f"iteration {each.iteration}" for each in analyses]
    return stages if len(runs) == 1 else [f"{run}, {stage}" for run, stage in zip(names, stages, strict=True)]


def in_order(ids: Iterable[str]) -> list[str]:
    """By their places among the plans: in the file they lie as they ended."""
    return sorted(ids, key=lambda record_id: (len(record_id), record_id))


def _scores_of(trajectory: Trajectory, log: AppendLog) -> tuple[TurnScore | None, ...]:
    if trajectory.id not in log:
        return (None,) * len(trajectory.turns)
    (record,) = log.records([trajectory.id])
    where = printable_line(f"{log.path}: the record {trajectory.id}")
    turns: list[dict[str, Any] | None] = checked(record, TurnScoresRecord, where=where, fix=FIX)["turns"]
    if len(turns) != len(trajectory.turns):
        raise UserError(
            f"{where} is damaged (it is of {len(turns)} turns, and the trajectory has {len(trajectory.turns)}): {FIX}"
        )
    return tuple(None if turn is None else TurnScore.from_json(turn) for turn in turns)
