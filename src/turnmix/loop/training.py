"""The stage in which the student learns. In: an iteration's trajectories. Out: a checkpoint."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from turnmix.core.errors import TrainingError, UserError
from turnmix.core.seed import derive_seed
from turnmix.core.transition import Transition
from turnmix.core.untaught import Untaught, count_reasons
from turnmix.loop.parts import Metrics, Progress, Student
from turnmix.loop.teacher_scores import scoring_usage, with_teacher_logprobs
from turnmix.methods.filters import apply_filter
from turnmix.methods.registry import teach
from turnmix.policies.scoring import Scorer
from turnmix.recipe.recipe import Recipe
from turnmix.rollout.teacher_share import teacher_share
from turnmix.store.run_directory import RunDirectory

if TYPE_CHECKING:
    from turnmix.training.fit_report import StepReport


class TrainingStage:
    """`train` is called with its iteration."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        run: RunDirectory,
        scorer: Scorer | None,
        student: Student,
        progress: Progress,
        metrics: Metrics,
        tick: Callable[[], None],
    ) -> None:
        """`tick` is called after each step."""
        self._recipe = recipe
        self._run = run
        self._scorer = scorer
        self._student = student
        self._progress = progress
        self._metrics = metrics
        self._tick = tick

    def train(self, iteration: int) -> dict[str, Any]:
        """Learn what the iteration's trajectories teach, and write the checkpoint."""
        is_fresh = self._recipe.data.dataset == "fresh"
        batches = [f"i{past:03d}" for past in range(iteration if is_fresh else 1, iteration + 1)]
        self._run.check_rollouts(range(iteration if is_fresh else 1, iteration + 1))
        ids = [member for batch in batches for member in self._run.trajectories.ids_of(batch)]
        filtered = apply_filter(self._recipe.data.filter, self._run.trajectories.read(ids))
        taught = teach(self._recipe.method, filtered.kept, self._recipe.objective)
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
            self._progress.advance(
                "train", iteration, done=report.step, note=f"loss {report.loss:.3f}{from_first}"
            )
            self._tick()

        transitions = self._scored(taught.transitions, iteration)
        figures: dict[str, Any] = {
            "kept": len(filtered.kept),
            "realised_beta_kept": teacher_share(filtered.kept).by_turns,
            "dropped": filtered.num_dropped,
        }
        untaught, method_figures = taught.untaught, taught.figures
        del filtered, taught  # of what the student takes out of its list nothing is left
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
        untaught = (*untaught, *report.untaught)
        self._run.keep_untaught(iteration, untaught)
        figures |= {
            "labels": report.transitions - report.dropped_too_long - len(report.untaught),
            "untaught": count_reasons(untaught),
            "dropped_too_long": report.dropped_too_long,
            "label_tokens": report.label_tokens,
            "logprobs_missing": dict(+missing),
            "scoring_usage": scoring_usage(self._run.scores, missing),
            "tree_tokens": report.tree_tokens,
            "separate_tokens": report.separate_tokens,
            "passes": dict(report.passes),
            "first_epoch_loss": report.first_epoch_loss,
            "loss": report.last_epoch_loss,
            "objective": {
                **method_figures,
                **_target_counts(method_figures, untaught),
                **report.objective,
            },
            "step_losses": losses,
        }
        # Before the checkpoint: a checkpoint in place says that the stage is over.
        self._run.record_stage("train", iteration, figures)
        self._student.save(self._run.new_checkpoint(iteration))
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
                self._progress.advance(
                    "score", iteration, done=done, note="trajectories scored by the teacher"
                )
            else:
                self._progress.begin("score", iteration, total=total, done=done)
            has_begun = True
            self._tick()

        return with_teacher_logprobs(
            transitions,
            scorer=self._scorer,
            log=self._run.scores,
            path_of=self._student.token_path,
            on_scored=on_scored,
        )


def _target_counts(method_figures: Mapping[str, Any], untaught: Sequence[Untaught]) -> dict[str, int]:
    """How many targets are not taught, of a method that has any but what the student sampled."""
    if "targets_malformed" not in method_figures and not untaught:
        return {}
    malformed = sum(each.objection.is_malformed for each in untaught)
    return {"targets_malformed": malformed, "targets_unwritable": len(untaught) - malformed}
