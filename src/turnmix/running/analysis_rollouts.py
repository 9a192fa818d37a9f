"""The rollouts of an analysis, by name: who acts, what happens, and whether the teacher says its label.

    own          the student alone, greedily, with the teacher's label in every state
    sampled      the student alone, at temperature 1, so that its tokens are a sample of it
    teacher      the teacher alone
    resampled    the student alone, as it samples in rollouts
    rescued      the student, greedily, until it does what the teacher would not; the teacher from the next turn on
    breaking, …  the student alone, greedily, after one accident of this kind at a turn drawn for each task
    headroom-…   the student, greedily; where the expert would take a step of these kinds, it does

In: tasks, and a directory. Out: its logs, in which each trajectory lies as it ended. What is there is not made again.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.analysis.agreement import agree
from turnmix.assembly.machine import check_machine
from turnmix.core.errors import UserError
from turnmix.core.seed import derive_seed
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, Turn
from turnmix.environments.environment import HasStepKinds, TaskSource, accident_of
from turnmix.gateway.session.tokens import RoughTokenCounter
from turnmix.loop.collector_choice import collector_of
from turnmix.loop.missing_rollouts import Keep, roll_out_missing
from turnmix.policies.policy import Policy
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.recipe.recipe import Recipe
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.mixture import StudentMixture, TeacherMixture
from turnmix.rollout.plan import RolloutPlan, make_plans
from turnmix.rollout.request import Collect, RolloutRequest
from turnmix.rollout.turn_recorder import TakesOver
from turnmix.running.analysed_student import AnalysedStudent, Sampling
from turnmix.running.analysing_teacher import AnalysingTeacher
from turnmix.running.reporter import Reporter
from turnmix.scaffold.text_calls import tools_in
from turnmix.store.analysis_directory import (
    HEADROOM,
    OWN,
    RESAMPLED,
    RESCUED,
    SAMPLED,
    TEACHER,
    AnalysisDirectory,
)
from turnmix.store.append_log import TrajectoryLog

_ACCIDENTS_SEED = derive_seed(0, "analysis", "accidents")
"""The same in all runs: the accident of a task is due at the same turn, whoever is compared."""


def headroom_name(kinds: Sequence[str]) -> str:
    """Of the rollout in which the expert takes the steps of these kinds.

    >>> headroom_name(["edit", "restore"])
    'headroom-edit,restore'
    """
    return f"{HEADROOM}-{','.join(kinds)}"


def asks_teacher(name: str) -> bool:
    """Is the teacher asked in every state of this rollout?"""
    return name in (OWN, TEACHER, RESCUED) or name.startswith(f"{HEADROOM}-")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRollouts:
    """Makes what is missing."""

    recipe: Recipe
    source: TaskSource
    tasks: Sequence[Task]
    teacher: AnalysingTeacher
    reporter: Reporter

    def check(self, name: str) -> None:
        """Raises UserError: these tasks have no such rollout."""
        if name in (OWN, SAMPLED, TEACHER, RESAMPLED, RESCUED):
            return
        if not name.startswith(f"{HEADROOM}-"):
            accident_of(self.source, name, field="instruments: accidents")
        elif not isinstance(self.source, HasStepKinds):
            raise UserError(
                f"instruments: headroom: the tasks of {self.recipe.tasks.source!r} do not tell sorts of steps: give "
                "their source a method step_kind(action)"
            )

    def step_kind(self, action: Action) -> str | None:
        """What sort of step it is; None: these tasks do not tell."""
        return self.source.step_kind(action) if isinstance(self.source, HasStepKinds) else None

    def roll_out(
        self, name: str, *, iteration: int, student: AnalysedStudent | None, directory: AnalysisDirectory
    ) -> TrajectoryLog:
        """The log of the rollout `name`, once it is whole. `student`: None: the teacher alone acts."""
        plans = make_plans(
            self.tasks,
            iteration=iteration,
            seed=derive_seed(self.recipe.seed, "analysis"),
            cohort_size=self.recipe.student.cohort_size,
            beta=1.0 if name == TEACHER else None if self._takes_over(name) else 0.0,
            prefix=name,
        )
        log = directory.rollouts(name, plans)

        def collecting(missing: list[RolloutPlan], keep: Keep) -> Coroutine[Any, Any, None]:
            for change in directory.changed_versions():
                self.reporter.say(f"note: {change}: results may differ from an uninterrupted analysis")
            check_machine(self.recipe)
            acting = _NOBODY if student is None else student.policy(_SAMPLING.get(name, "greedy"))
            teacher = self.teacher.policy() if asks_teacher(name) else None
            collect = collector_of(self.recipe, count=RoughTokenCounter, logs=directory.path, is_taught=False)
            return self._collect(name, missing, keep, student=acting, teacher=teacher, collect=collect)

        with self.reporter.progress(seconds=lambda stage: None) as progress:
            roll_out_missing(
                name, plans, log=log, collecting=collecting, progress=progress, tick=lambda: None
            )
        return log

    async def _collect(
        self,
        name: str,
        plans: list[RolloutPlan],
        keep: Keep,
        *,
        student: Policy,
        teacher: Policy | None,
        collect: Collect,
    ) -> None:
        try:
            await collect(
                RolloutRequest(
                    plans=plans,
                    source=self.source,
                    student=student,
                    teacher=teacher,
                    mixture=TeacherMixture() if name == TEACHER else StudentMixture(),
                    label=name == OWN,
                    concurrency=self.recipe.rollouts.concurrency,
                    attempts=self.recipe.rollouts.attempts,
                    on_trajectory=keep,
                    unfinished=self.recipe.evaluation.unfinished,
                    accidents=self._accidents(name),
                    takes_over=self._takes_over(name),
                )
            )
        finally:
            await student.close()
            if teacher is not None:
                await teacher.close()

    def _accidents(self, name: str) -> Accidents | None:
        if name in _SAMPLING or asks_teacher(name):
            return None
        return Accidents(
            policy=accident_of(self.source, name, field="instruments: accidents"),
            turns=self.recipe.rollouts.accidents.turns,
            seed=_ACCIDENTS_SEED,
        )

    def _takes_over(self, name: str) -> TakesOver | None:
        if name == RESCUED:
            return _has_deviated
        if not name.startswith(f"{HEADROOM}-"):
            return None
        kinds = name.removeprefix(f"{HEADROOM}-").split(",")
        return lambda label, state, turns: self.step_kind(label) in kinds


def _has_deviated(label: Action, state: State, turns: Sequence[Turn]) -> bool:
    """Did the student do what the teacher would not, in the last turn or before?"""
    if not turns or turns[-1].actor == "teacher":
        return bool(turns)
    last = turns[-1]
    tools = state.tools or tools_in(state.messages)
    return last.label is not None and not agree(last.action, last.label, tools)


_SAMPLING: Mapping[str, Sampling] = {SAMPLED: "plain", RESAMPLED: "trained"}
"""Rollouts in which the student does not act greedily."""
_NOBODY = ScriptedPolicy.of_actions("nobody", [text_action("")])
