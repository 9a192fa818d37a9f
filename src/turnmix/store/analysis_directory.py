"""What a run's students do when they are looked at: one directory a checkpoint. `turnmix analyse` writes it.

analyses/iteration-003/    of the student after iteration 3; 000: before any training
    recipe.yaml            the resolved recipe, every default in it
    analysis.json          which student, and on how many tasks
    versions.json          with what it was begun
    own.jsonl              the student alone, greedily, with the teacher's label in every state
    own-scores.jsonl       how the student judges those labels: one line a trajectory
    teacher-scores.jsonl   the same in the states of the teacher's own trajectories
    sampled.jsonl          the student alone, at temperature 1, where the teacher gives log-probabilities
    sampled-scores.jsonl   how far its tokens there are from the teacher
    resampled.jsonl        the student alone once more, as it samples in rollouts
    rescued.jsonl          the student until its first deviation, greedily, and the expert from then on
    breaking.jsonl         the student alone after an accident, of each kind that was asked for
    headroom-edit.jsonl    the student, with the expert for steps of this kind
analyses/teacher/          the same for what no student has a part in
    teacher.jsonl          the teacher alone
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from turnmix.core.bounded_file import LINK
from turnmix.core.errors import UserError
from turnmix.rollout.plan import RolloutPlan
from turnmix.store.append_log import AppendLog, TrajectoryLog
from turnmix.store.place import ANALYSIS, RECIPE
from turnmix.store.subject_directory import DirectoryKind, SubjectDirectory
from turnmix.training.checkpoint_files import checkpoint_name, iteration_in

ANALYSES = "analyses"
OWN = "own"
SAMPLED = "sampled"
TEACHER = "teacher"
"""A rollout whose trajectories depend on no student, and where they lie."""
RESAMPLED = "resampled"
RESCUED = "rescued"
FAILURE_RECORDS = "failures"
"""What is kept of failure modes, in the directory of an analysis."""
HEADROOM = "headroom"
"""How the names of rollouts begin in which the expert takes over."""
_LOG = re.compile(r"([a-z][a-z0-9_,:-]*?)(-scores)?\.jsonl", re.ASCII)
OF_ANALYSIS = DirectoryKind(
    name="analysis",
    file=ANALYSIS,
    fix="repeat what it was begun with, or delete this directory to analyse anew",
    option=None,
)


class AnalysisDirectory(SubjectDirectory):
    """An open analysis. Made by `open`, never directly."""

    kind: ClassVar[DirectoryKind] = OF_ANALYSIS

    def __init__(self, path: Path, *, lock: int, directory: int) -> None:
        super().__init__(path, lock=lock, directory=directory)
        self._logs: dict[str, AppendLog] = {}

    def rollouts(self, name: str, plans: Sequence[RolloutPlan]) -> TrajectoryLog:
        """The trajectories of a rollout. Raises UserError: one that is here is of another task than its plan."""
        log = TrajectoryLog(rollouts_path(self.path, name), directory=self._directory)
        self._logs[name] = log
        self.check_log(log, plans)
        return log

    def scores(self, name: str) -> AppendLog:
        """What is said of a rollout's turns."""
        key = f"{name}-scores"
        if key not in self._logs:
            self._logs[key] = AppendLog(scores_path(self.path, name), directory=self._directory)
        return self._logs[key]

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
        super().close()


def analysis_path(run: Path, iteration: int) -> Path:
    """Where the analysis of the student after `iteration` lies, or will."""
    return run / ANALYSES / checkpoint_name(iteration)


def teacher_path(run: Path) -> Path:
    """Where the teacher's own trajectories lie, or will."""
    return run / ANALYSES / TEACHER


def rollouts_path(analysis: Path, name: str) -> Path:
    return analysis / f"{name}.jsonl"


def scores_path(analysis: Path, name: str) -> Path:
    return analysis / f"{name}-scores.jsonl"


def analysed_iterations(run: Path) -> list[int]:
    """Those whose analysis has begun, in order. Raises UserError: a link lies there, which may lead anywhere."""
    analyses = run / ANALYSES
    if not os.path.lexists(analyses):
        return []
    _check_is_directory(analyses)
    found = []
    for path in analyses.iterdir():
        iteration = iteration_in(path.name)
        if iteration is not None and os.path.lexists(path / RECIPE):
            _check_is_directory(path)
            found.append(iteration)
    return sorted(found)


def rollout_names(analysis: Path) -> list[str]:
    """Those of which there is a file."""
    found = (_LOG.fullmatch(path.name) for path in analysis.glob("*.jsonl"))
    return sorted(match[1] for match in found if match and not match[2])


def _check_is_directory(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise UserError(f"{path}: {LINK}")
    if not stat.S_ISDIR(mode):
        raise UserError(f"{path}: it is no directory: take it away")
