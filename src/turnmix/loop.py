"""The one loop (paper Alg. 1): roll out, keep, learn, evaluate. It knows no method by name.

In: a recipe, its parts and a run directory. Out: the directory, filled, and its summary. What a stage does
is a function of the recipe and of what is on disk; data are read back in the order of their plans, never in
the order in which they came. So a run killed at any moment and resumed ends in the same weights.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from turnmix.completion import Collecting, complete
from turnmix.config import Recipe
from turnmix.core.errors import TrainingError, UserError
from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import Transition
from turnmix.core.untaught import Untaught, count_reasons
from turnmix.environments.environment import TaskSource
from turnmix.evaluation.evaluator import evaluate, evaluation_plans, summarise
from turnmix.methods.filters import apply_filter
from turnmix.methods.method import Taught
from turnmix.methods.registry import METHODS
from turnmix.policies.policy import Policy
from turnmix.policies.scoring import Scorer
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import make_mixture
from turnmix.rollout.plan import RolloutPlan, derive_seed, make_plans
from turnmix.rollout.share import teacher_share
from turnmix.rollout.teacher_answers import count_teacher_answers
from turnmix.run_parts import Metrics, Progress, Student
from turnmix.scores import scoring_usage, with_teacher_logprobs
from turnmix.store.append_log import TrajectoryLog
from turnmix.store.run_directory import RunDirectory, stage_id
from turnmix.summary import summary_of
from turnmix.task_order import sampled_tasks

if TYPE_CHECKING:
    from turnmix.training.learner import StepReport


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
        self._source = source
        self._teacher = teacher
        self._scorer = scorer
        self._student = student
        self._progress = progress
        self._metrics = metrics
        self._method = METHODS[recipe.method]
        self._mixture = make_mixture(recipe.mixture)

    def run(self) -> dict[str, Any]:
        """Do all that is left; the summary."""
        base = self._recipe.evaluation.base
        if base is True:
            self._stage("evaluate", 0, self._evaluate)
        for iteration in range(1, self._recipe.iterations + 1):
            self._stage("rollout", iteration, self._roll_out)
            self._stage("train", iteration, self._train)
            if base == "late" and iteration == 1:
                self._stage("evaluate", 0, self._evaluate)
            if iteration % self._recipe.evaluation.every == 0 or iteration == self._recipe.iterations:
                self._stage("evaluate", iteration, self._evaluate)
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

    def _roll_out(self, iteration: int) -> dict[str, Any]:
        rollouts, beta = self._recipe.rollouts, self._mixture.beta(iteration)
        plans = make_plans(
            sampled_tasks(
                self._source.tasks("train"),
                iteration=iteration,
                number=rollouts.tasks_per_iteration,
                seed=derive_seed(self._recipe.seed, "tasks"),
            ),
            iteration=iteration,
            seed=derive_seed(self._recipe.seed, "rollouts"),
            cohort_size=self._recipe.student.cohort_size,
            beta=beta,
            samples_per_task=rollouts.samples_per_task,
        )

        async def collecting(missing: list[RolloutPlan], keep: Callable[[Trajectory], None]) -> None:
            student = self._student.policy(greedy=False)
            teacher = self._teacher() if self._recipe.asks_teacher else None
            try:
                await collect(
                    missing,
                    source=self._source,
                    student=student,
                    teacher=teacher,
                    mixture=self._mixture,
                    label=self._method.label,
                    concurrency=rollouts.concurrency,
                    attempts=rollouts.attempts,
                    on_trajectory=keep,
                )
            finally:
                await student.close()
                if teacher is not None:
                    await teacher.close()

        self._complete("rollout", plans, self._run.trajectories, collecting)
        trajectories = list(self._run.trajectories.read(plan.trajectory_id for plan in plans))
        share = teacher_share(trajectories, count_tokens=self._student.count_tokens)
        figures = summarise(trajectories)
        return {
            "beta": beta,
            "realised_beta": share.by_turns,
            "realised_beta_tokens": share.by_tokens,
            "rollouts": len(trajectories),
            "turns": share.num_turns,
            "drift": self._student.drift(trajectories).to_json(),
            "teacher": count_teacher_answers(trajectories).to_json() if self._recipe.asks_teacher else None,
            "control_texts": self._student.control_texts(trajectories).to_json(),
            "resolved": figures.resolved,
            "submitted": figures.submitted,
            "stop_reasons": dict(figures.stop_reasons),
            "infra_errors": figures.infra_errors,
            "usage": figures.usage,
        }

    def _train(self, iteration: int) -> dict[str, Any]:
        is_fresh = self._recipe.data.dataset == "fresh"
        batches = [f"i{past:03d}" for past in range(iteration if is_fresh else 1, iteration + 1)]
        self._run.check_rollouts(range(iteration if is_fresh else 1, iteration + 1))
        ids = [member for batch in batches for member in self._run.trajectories.ids_of(batch)]
        filtered = apply_filter(self._recipe.data.filter, self._run.trajectories.read(ids))
        taught = self._method.transitions(filtered.kept, self._recipe.objective)
        losses: list[float] = []
        num_steps_before = self._run.num_steps(iteration - 1)

        def on_step(report: StepReport) -> None:
            if not losses:
                self._progress.begin("train", iteration, total=report.num_steps, done=0)
            losses.append(report.loss)
            learned = {
                "loss": report.loss,
                "gradient_norm": report.gradient_norm,
                "learning_rate": report.learning_rate,
            }
            self._metrics.log({"step": learned}, step=num_steps_before + report.step)
            from_first = f", at first {losses[0]:.3f}" if iteration == 1 else ""
            self._progress.advance(report.step, f"loss {report.loss:.3f}{from_first}")
            self._run.clock.tick()

        transitions = self._scored(taught.transitions, iteration)
        missing: Counter[str] = Counter()
        for each in transitions:
            missing[each.trajectory_id] += each.num_without_weight
        try:
            report = self._student.learn(
                transitions,
                generator=random.Random(derive_seed(self._recipe.seed, "learner", iteration)),
                on_step=on_step,
            )
        except TrainingError as error:
            raise TrainingError(f"iteration {iteration}, {error}; {self._last_good()}") from error
        untaught = (*taught.untaught, *report.untaught)
        self._run.keep_untaught(iteration, untaught)
        figures = {
            "kept": len(filtered.kept),
            "realised_beta_kept": teacher_share(filtered.kept).by_turns,
            "dropped": filtered.num_dropped,
            "labels": report.transitions - report.dropped_too_long - len(report.untaught),
            "untaught": count_reasons(untaught),
            "dropped_too_long": report.dropped_too_long,
            "label_tokens": report.label_tokens,
            "logprobs_missing": dict(+missing),
            "scoring_usage": scoring_usage(
                self._run.scores, dict.fromkeys(each.trajectory_id for each in transitions)
            ),
            "tree_tokens": report.tree_tokens,
            "separate_tokens": report.separate_tokens,
            "first_epoch_loss": report.first_epoch_loss,
            "loss": report.last_epoch_loss,
            "objective": {**taught.figures, **_target_counts(taught, untaught), **report.objective},
            "step_losses": losses,
        }
        # Before the checkpoint: a checkpoint in place says that the stage is over.
        self._run.record_stage("train", iteration, figures)
        self._student.save(self._run.new_checkpoint(iteration))
        if self._recipe.checkpoints.keep is not None:
            self._run.prune_checkpoints(self._recipe.checkpoints.keep)
        return figures

    def _last_good(self) -> str:
        iteration = self._run.last_checkpoint()
        return (
            f"the last good checkpoint is {self._run.checkpoint(iteration)}, from which another run may begin "
            "(student.model)"
            if iteration
            else "there is no checkpoint yet, the base model is as it was"
        )

    def _scored(self, transitions: list[Transition], iteration: int) -> list[Transition]:
        """The transitions with the teacher's log-probabilities, where the objective needs them."""
        if self._scorer is None:
            return transitions
        missing = {each.trajectory_id for each in transitions} - set(self._run.scores.ids)
        if missing and self._run.stage_metrics("train", iteration) is not None:
            raise UserError(
                f"{self._run.scores.path} lacks {len(missing)} trajectories of iteration {iteration}, which was "
                "trained on them before, and a teacher may score otherwise now: put them back, or begin another run"
            )
        has_begun = False

        def on_scored(done: int, total: int) -> None:
            nonlocal has_begun
            if has_begun:
                self._progress.advance(done, "trajectories scored by the teacher")
            else:
                self._progress.begin("score", iteration, total=total, done=done)
            has_begun = True
            self._run.clock.tick()

        return with_teacher_logprobs(
            transitions,
            scorer=self._scorer,
            log=self._run.scores,
            path_of=self._student.token_path,
            on_scored=on_scored,
        )

    def _evaluate(self, iteration: int) -> dict[str, Any]:
        holdout = self._source.tasks("holdout")
        plans = evaluation_plans(
            holdout[: self._recipe.evaluation.tasks],
            iteration=iteration,
            seed=derive_seed(self._recipe.seed, "evaluation"),
            cohort_size=self._recipe.student.cohort_size,
        )

        async def evaluating(missing: list[RolloutPlan], keep: Callable[[Trajectory], None]) -> None:
            is_base_late = iteration == 0 and self._recipe.evaluation.base == "late"
            student = self._student.base_policy() if is_base_late else self._student.policy(greedy=True)
            try:
                await evaluate(
                    missing,
                    source=self._source,
                    policy=student,
                    concurrency=self._recipe.rollouts.concurrency,
                    attempts=self._recipe.rollouts.attempts,
                    on_trajectory=keep,
                    unfinished=self._recipe.evaluation.unfinished,
                )
            finally:
                await student.close()

        self._complete("evaluate", plans, self._run.evaluations, evaluating)
        ids = [plan.trajectory_id for plan in plans]
        unfinished = self._recipe.evaluation.unfinished
        return summarise(self._run.evaluations.read(ids), unfinished=unfinished).to_json()

    def _complete(
        self, stage: str, plans: Sequence[RolloutPlan], log: TrajectoryLog, collecting: Collecting
    ) -> None:
        complete(
            stage,
            plans,
            log=log,
            collecting=collecting,
            progress=self._progress,
            tick=self._run.clock.tick,
        )

    def _write_summary(self) -> dict[str, Any]:
        summary = summary_of(self._recipe, self._run)
        self._run.write_summary(summary)
        return summary


def _target_counts(taught: Taught, untaught: Sequence[Untaught]) -> dict[str, int]:
    """How many targets are not taught, of a method that has any but what the student sampled."""
    if "targets_malformed" not in taught.figures and not untaught:
        return {}
    malformed = sum(each.objection.is_malformed for each in untaught)
    return {"targets_malformed": malformed, "targets_unwritable": len(untaught) - malformed}
