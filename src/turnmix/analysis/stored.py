"""Analyses read from a run: what `turnmix analyse` stored of each checkpoint.

In: a run's directory. Out: trajectories with their scores, and tables made anew of them. Nothing is rolled out or
loaded, and nothing that a recipe names is imported.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.analysis.remembered import Stamp, files_in, remembered, stamp_of
from turnmix.analysis.scored import ScoredTrajectory, TurnScore
from turnmix.analysis.table import Table
from turnmix.core.bounded_file import MEBIBYTE
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.trajectory import Trajectory
from turnmix.store.analysis_directory import (
    FAILURE_RECORDS,
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
from turnmix.store.run_directory import EVALUATIONS

MOST_HELD_BYTES = 32 * MEBIBYTE
"""Of stored lines whose trajectories are held for who asks next: those of about two analyses."""
_held_trajectories: OrderedDict[tuple[Path, Stamp], list[Trajectory]] = OrderedDict()


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
        return [name for name in _names(self) if _num_held(self, name)]

    def is_whole(self, name: str) -> bool:
        """Is there a trajectory of each task?"""
        return _num_held(self, name) >= self.num_tasks

    def rollouts(self, name: str) -> list[Trajectory]:
        """The trajectories of a rollout, in the order of their tasks, failures of the infrastructure among them; none
        where there is no such rollout. Raises UserError: one is damaged."""
        path = self.log_path(name)
        if not os.path.lexists(path):
            return []
        return list(_trajectories_in(path))

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

    def files(self) -> list[Path]:
        """All that an answer about this analysis may depend on."""
        folders = (self.path, self.path / FAILURE_RECORDS, teacher_path(self.run))
        return [*files_in(*folders), self.run / EVALUATIONS]

    def log_path(self, name: str) -> Path:
        """Where the trajectories of a rollout lie, or would."""
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


@remembered
def _num_held(analysis: StoredAnalysis, name: str) -> int:
    path = analysis.log_path(name)
    return len(AppendLog(path, is_writable=False)) if os.path.lexists(path) else 0


def _trajectories_in(path: Path) -> list[Trajectory]:
    """In the order of their tasks. Those last asked for are held, and not read again."""
    key = (path, stamp_of([path]))
    if key not in _held_trajectories:
        log = TrajectoryLog(path, is_writable=False)
        _held_trajectories[key] = list(log.read(in_order(log.ids)))
    _held_trajectories.move_to_end(key)
    held = 0
    for each in reversed([*_held_trajectories]):
        held += sum(size for _, _, size, _ in each[1])
        if held > MOST_HELD_BYTES and each != key:
            del _held_trajectories[each]
    return _held_trajectories[key]


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
