"""The stages in which agents act: rollouts of the training tasks, and evaluation on the holdout tasks.

In: an iteration. Out: its trajectories, on the disk, and its figures. What is there already is not made again. Both
may run at one time: then rollouts come first, and evaluation takes the slots that they leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import TaskSource, accident_of
from turnmix.evaluation.evaluator import evaluation_plans, evaluation_request, summarise
from turnmix.loop.branch import Branch
from turnmix.loop.collector_choice import collector_of
from turnmix.loop.missing_rollouts import roll_out_missing
from turnmix.loop.parts import Progress, Student, Workers
from turnmix.loop.plans import is_rolled_out_elsewhere, num_missing, rollout_plans
from turnmix.methods.registry import label_gate
from turnmix.policies.policy import Policy
from turnmix.recipe.recipe import Recipe
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.mixture import make_mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.request import Collect, RolloutRequest
from turnmix.rollout.slots import Slots
from turnmix.rollout.teacher_answers import count_teacher_answers
from turnmix.rollout.teacher_share import teacher_share
from turnmix.store.run_directory import RunDirectory


class ActingStages:
    """`roll_out` and `evaluate`; each is called with its iteration."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        run: RunDirectory,
        source: TaskSource,
        teacher: Callable[[], Policy],
        student: Student,
        progress: Progress,
        tick: Callable[[], None],
        branch: Branch,
        workers: Workers | None = None,
    ) -> None:
        """`tick` is called after each trajectory of a rollout. `branch`: what evaluations run in. `workers`: who rolls
        out and evaluates; None: this process."""
        self._workers = workers
        self._recipe = recipe
        self._run = run
        self._source = source
        self._teacher = teacher
        self._student = student
        self._progress = progress
        self._tick = tick
        self._branch = branch
        self._slots = Slots(recipe.rollouts.concurrency)
        self._label = label_gate(recipe.method)
        self._mixture = make_mixture(recipe.mixture)

    def roll_out(self, iteration: int) -> dict[str, Any]:
        """The iteration's trajectories, and their labels."""
        rollouts, beta = self._recipe.rollouts, self._mixture.beta(iteration)
        plans = rollout_plans(
            self._recipe, self._source, iteration, cohort_size=self._recipe.student.cohort_size
        )

        befalls = rollouts.accidents

        async def collecting(missing: list[RolloutPlan], keep: Callable[[Trajectory], None]) -> None:
            student = self._student.policy(greedy=False)
            teacher = self._teacher() if self._recipe.asks_teacher else None
            accidents = self._accidents(iteration) if befalls.are_on else None
            try:
                await self._collector(is_taught=True)(
                    RolloutRequest(
                        plans=missing,
                        source=self._source,
                        student=student,
                        teacher=teacher,
                        mixture=self._mixture,
                        label=self._label,
                        concurrency=rollouts.concurrency,
                        attempts=rollouts.attempts,
                        on_trajectory=keep,
                        slots=self._slots.first(),
                        accidents=accidents,
                    )
                )
            finally:
                await student.close()
                if teacher is not None:
                    await teacher.close()

        roll_out_missing(
            "rollout",
            plans,
            log=self._run.trajectories,
            collecting=collecting,
            progress=self._progress,
            tick=self._tick,
        )
        trajectories = list(self._run.trajectories.read(plan.trajectory_id for plan in plans))
        share = teacher_share(trajectories, count_tokens=self._student.count_tokens)
        figures = summarise(trajectories)
        return {
            "beta": beta,
            "realised_beta": share.by_turns,
            "realised_beta_tokens": share.by_tokens,
            "rollouts": len(trajectories),
            "turns": share.num_turns + share.num_accidents,
            **({"accidents": share.num_accidents} if befalls.are_on else {}),
            "drift": self._student.drift(trajectories).to_json(),
            "teacher": count_teacher_answers(trajectories).to_json() if self._recipe.asks_teacher else None,
            "control_texts": self._student.control_texts(trajectories).to_json(),
            "resolved": figures.resolved,
            "submitted": figures.submitted,
            "stop_reasons": dict(figures.stop_reasons),
            "infra_errors": figures.infra_errors,
            "usage": figures.usage,
            **({"tool_faults": list(figures.tool_faults)} if figures.tool_faults else {}),
            **({"workers": self._workers.counts()} if self._workers is not None else {}),
        }

    def waits(self, iteration: int) -> bool:
        """Must scaffolds that start themselves roll it out first?"""
        if not is_rolled_out_elsewhere(self._recipe):
            return False
        return num_missing(self._recipe, self._source, iteration, run=self._run) > 0

    def _collector(self, *, is_taught: bool) -> Collect:
        if self._workers is not None:
            return self._workers.collector(is_taught=is_taught)
        return collector_of(
            self._recipe, count=lambda: self._student.token_counter, logs=self._run.path, is_taught=is_taught
        )

    def _accidents(self, iteration: int) -> Accidents:
        chosen = self._recipe.rollouts.accidents
        return Accidents(
            policy=accident_of(self._source, chosen.kind, field="rollouts.accidents.kind"),
            turns=chosen.turns,
            share=chosen.share,
            seed=derive_seed(self._recipe.seed, "accidents", iteration),
        )

    def evaluate(self, iteration: int) -> dict[str, Any]:
        """The student of the iteration on the holdout tasks; 0: before any training."""
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
                await self._collector(is_taught=False)(
                    evaluation_request(
                        student,
                        plans=missing,
                        source=self._source,
                        concurrency=self._recipe.rollouts.concurrency,
                        attempts=self._recipe.rollouts.attempts,
                        on_trajectory=keep,
                        unfinished=self._recipe.evaluation.unfinished,
                        slots=self._slots.beside(),
                    )
                )
            finally:
                await student.close()

        roll_out_missing(
            "evaluate",
            plans,
            log=self._run.evaluations,
            collecting=evaluating,
            progress=self._progress,
            tick=self._run.clock.tick,
            run=self._branch.run,
        )
        ids = [plan.trajectory_id for plan in plans]
        unfinished = self._recipe.evaluation.unfinished
        return summarise(self._run.evaluations.read(ids), unfinished=unfinished).to_json()
