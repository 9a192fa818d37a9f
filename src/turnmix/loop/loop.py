"""The one loop (paper Alg. 1): roll out, keep, learn, evaluate. It knows no method by name.

In: a recipe, its parts and a run directory. Out: the directory, filled, and its summary. What a stage does
is a function of the recipe and of what is on disk; data are read back in the order of their plans, never in
the order in which they came. So a run killed at any moment and resumed ends in the same weights.

What each stage waits for, and what may run beside it:

    rollout i         train i−1, whose weights act
    train i           rollout i, which it learns from, and evaluate i−1, whose weights it changes
    evaluate i        train i; it runs beside rollout i+1
    evaluate 0, late  nothing: it has weights of its own, and runs beside training where there is room for them
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import TaskSource
from turnmix.loop.acting import ActingStages
from turnmix.loop.branch import Branch
from turnmix.loop.importing import ImportingStage
from turnmix.loop.parts import Metrics, Progress, Student, Workers
from turnmix.loop.shared_progress import SharedMetrics, SharedProgress
from turnmix.loop.summary import summary_of
from turnmix.loop.training import TrainingStage
from turnmix.policies.policy import Policy
from turnmix.policies.scoring import Scorer
from turnmix.recipe.recipe import Recipe
from turnmix.store.run_directory import RunDirectory, stage_id


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
        imported: Callable[[], Sequence[Trajectory]] | None = None,
        student: Student,
        progress: Progress,
        metrics: Metrics,
        workers: Workers | None = None,
    ) -> None:
        """`student` stands at the run's last checkpoint, or at the base model. `teacher` opens one,
        where it acts or labels. `scorer` gives its log-probabilities, where the objective needs them.
        `imported` reads the trajectories that the recipe learns instead of rollouts, if it does. `workers` roll out and
        evaluate in its place."""
        self._recipe = recipe
        self._run = run
        self._student = student
        self._progress = SharedProgress(progress)
        self._metrics = SharedMetrics(metrics)
        self._branch = Branch()
        self._recording = threading.Lock()
        self._acting = ActingStages(
            recipe,
            run=run,
            source=source,
            teacher=teacher,
            student=student,
            progress=self._progress,
            tick=self._tick,
            branch=self._branch,
            workers=workers,
        )
        self._roll_out = self._acting.roll_out
        if imported is not None:
            importing = ImportingStage(
                run=run, imported=imported, student=student, progress=self._progress, tick=self._tick
            )
            self._roll_out = importing.take_in
        self._training = TrainingStage(
            recipe,
            run=run,
            scorer=scorer,
            student=student,
            progress=self._progress,
            metrics=self._metrics,
            tick=self._tick,
        )

    def run(self) -> dict[str, Any]:
        """Do all that is left, or all up to rollouts that scaffolds must drive which start themselves; the summary."""
        # A kill right after a checkpoint leaves what was to be deleted then.
        self._run.prune_checkpoints(self._recipe.checkpoints.keep)
        evaluation, last = self._recipe.evaluation, self._recipe.iterations
        is_evaluated = evaluation.tasks > 0
        is_late = is_evaluated and evaluation.base == "late"
        is_beside = is_late and self._student.has_room_beside_learning
        with self._branch:
            # Of the weights of now, which training changes.
            current = [self._begin_evaluation(0)] if is_evaluated and evaluation.base is True else []
            for iteration in range(1, last + 1):
                if self._acting.waits(iteration):
                    break
                if not self._student.acts_twice:
                    _wait_for(current)
                self._stage("rollout", iteration, self._roll_out)
                if iteration == 1 and is_beside:
                    self._begin_evaluation(0)
                _wait_for(current)
                self._stage("train", iteration, self._training.train)
                current = []
                if iteration == 1 and is_late and not is_beside:
                    current.append(self._begin_evaluation(0))
                if is_evaluated and (iteration % evaluation.every == 0 or iteration == last):
                    current.append(self._begin_evaluation(iteration))
        return self._write_summary()

    def _begin_evaluation(self, iteration: int) -> Future[None]:
        return self._branch.begin(lambda: self._stage("evaluate", iteration, self._acting.evaluate))

    def _tick(self) -> None:
        self._branch.check()
        self._run.clock.tick()

    def _stage(self, stage: str, iteration: int, work: Callable[[int], dict[str, Any]]) -> None:
        has_trained = stage != "train" or self._run.last_checkpoint() >= iteration
        if self._run.stage_metrics(stage, iteration) is not None and has_trained:
            return
        with self._run.clock.stage(stage_id(stage, iteration)):
            figures = work(iteration)
        newest = max(iteration, self._run.last_checkpoint())
        with self._recording:
            self._metrics.log({stage: figures, "iteration": iteration}, step=self._run.num_steps(newest))
            self._run.record_stage(stage, iteration, figures)
            self._progress.end(stage, iteration, figures)
            self._write_summary()

    def _write_summary(self) -> dict[str, Any]:
        summary = summary_of(self._recipe, self._run)
        self._run.write_summary(summary)
        return summary


def _wait_for(evaluations: Iterable[Future[None]]) -> None:
    for each in evaluations:
        each.result()
