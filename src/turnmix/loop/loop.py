"""The one loop (paper Alg. 1): roll out, keep, learn, evaluate. It knows no method by name.

In: a recipe, its parts and a run directory. Out: the directory, filled, and its summary. What a stage does
is a function of the recipe and of what is on disk; data are read back in the order of their plans, never in
the order in which they came. So a run killed at any moment and resumed ends in the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnmix.config import Recipe
from turnmix.environments.environment import TaskSource
from turnmix.loop.acting import ActingStages
from turnmix.loop.parts import Metrics, Progress, Student
from turnmix.loop.training import TrainingStage
from turnmix.policies.policy import Policy
from turnmix.policies.scoring import Scorer
from turnmix.store.run_directory import RunDirectory, stage_id
from turnmix.summary import summary_of


class Loop:
    """One run, from wherever its directory stands to its end."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        run: RunDirectory,
        source: TaskSource,
        teacher: Callable[[], Policy],
        scorer: Scorer | None = None,
        student: Student,
        progress: Progress,
        metrics: Metrics,
    ) -> None:
        """`student` stands at the run's last checkpoint, or at the base model. `teacher` opens one,
        where it acts or labels. `scorer` gives its log-probabilities, where the objective needs them."""
        self._recipe = recipe
        self._run = run
        self._progress = progress
        self._metrics = metrics
        self._acting = ActingStages(
            recipe, run=run, source=source, teacher=teacher, student=student, progress=progress
        )
        self._training = TrainingStage(
            recipe, run=run, scorer=scorer, student=student, progress=progress, metrics=metrics
        )

    def run(self) -> dict[str, Any]:
        """Do all that is left; the summary."""
        # A kill right after a checkpoint leaves what was to be deleted then.
        self._run.prune_checkpoints(self._recipe.checkpoints.keep)
        base = self._recipe.evaluation.base
        if base is True:
            self._stage("evaluate", 0, self._acting.evaluate)
        for iteration in range(1, self._recipe.iterations + 1):
            self._stage("rollout", iteration, self._acting.roll_out)
            self._stage("train", iteration, self._training.train)
            if base == "late" and iteration == 1:
                self._stage("evaluate", 0, self._acting.evaluate)
            if iteration % self._recipe.evaluation.every == 0 or iteration == self._recipe.iterations:
                self._stage("evaluate", iteration, self._acting.evaluate)
        return self._write_summary()

    def _stage(self, stage: str, iteration: int, work: Callable[[int], dict[str, Any]]) -> None:
        has_trained = stage != "train" or self._run.last_checkpoint() >= iteration
        if self._run.stage_metrics(stage, iteration) is not None and has_trained:
            return
        with self._run.clock.stage(stage_id(stage, iteration)):
            figures = work(iteration)
        # Trackers take no step that lies before one they have: the base student's late figures stand at the newest.
        newest = max(iteration, self._run.last_checkpoint())
        self._metrics.log({stage: figures, "iteration": iteration}, step=self._run.num_steps(newest))
        self._run.record_stage(stage, iteration, figures)
        self._progress.end(stage, iteration, figures)
        self._write_summary()

    def _write_summary(self) -> dict[str, Any]:
        summary = summary_of(self._recipe, self._run)
        self._run.write_summary(summary)
        return summary
