"""One evaluation's directory. `turnmix evaluate` goes on with it, `turnmix show` reads it.

recipe.yaml        the resolved recipe, every default in it
evaluation.json    which student, and the recipe's name
versions.json      with what it was begun
evaluations.jsonl  one line a trajectory, as it ended
results.json       the figures; once all is there; beside it what the tasks' own domain adds, such as predictions.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from turnmix.core.atomic_file import write_atomically
from turnmix.core.json_text import json_text
from turnmix.rollout.plan import RolloutPlan
from turnmix.store.append_log import TrajectoryLog
from turnmix.store.run_directory import EVALUATION, EVALUATIONS
from turnmix.store.subject_directory import DirectoryKind, SubjectDirectory

RESULTS = "results.json"
OF_EVALUATION = DirectoryKind(
    name="evaluation", file=EVALUATION, fix="name another directory with --output", option="--output"
)


class EvaluationDirectory(SubjectDirectory):
    """An open evaluation. Made by `open`, never directly."""

    kind: ClassVar[DirectoryKind] = OF_EVALUATION

    def __init__(self, path: Path, *, lock: int, directory: int) -> None:
        super().__init__(path, lock=lock, directory=directory)
        self.trajectories = TrajectoryLog(path / EVALUATIONS, directory=directory)

    def check_tasks(self, plans: Sequence[RolloutPlan]) -> None:
        """Raises UserError: a trajectory that is here is of another task than its plan."""
        self.check_log(self.trajectories, plans)

    def write_results(self, results: Mapping[str, Any]) -> None:
        self.add_file(RESULTS, json_text(results, indent=2) + "\n")

    def add_file(self, name: str, text: str) -> None:
        """What the tasks' own domain makes of the trajectories."""
        write_atomically(self.path / name, text, directory=self._directory)

    def close(self) -> None:
        self.trajectories.close()
        super().close()
