"""The teacher of an analysis: opened when it is first asked, and told of beforehand where asking costs.

In: a recipe. Out: a teacher that is ready.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property, partial

from turnmix.assembly.machine import prepare_tensor_code
from turnmix.assembly.teacher import make_teacher
from turnmix.environments.environment import TaskSource, expert_of
from turnmix.policies.policy import Policy
from turnmix.policies.teacher import Teacher
from turnmix.recipe.recipe import Recipe
from turnmix.running.preflight import check_teacher
from turnmix.running.reporter import Reporter


class AnalysingTeacher:
    """Costs nothing before it is asked."""

    def __init__(
        self, recipe: Recipe, *, source: TaskSource, moment: datetime | None, reporter: Reporter
    ) -> None:
        self._recipe = recipe
        self._source = source
        self._moment = moment
        self._reporter = reporter

    @cached_property
    def ready(self) -> Teacher:
        """Raises UserError: it is not there, or the tasks have none such."""
        recipe = self._recipe
        teacher = make_teacher(
            recipe, expert=partial(expert_of, self._source), acts=True, moment=self._moment
        )
        for note in check_teacher(teacher):
            self._reporter.note(note)
        if recipe.teacher.model_here is not None:
            prepare_tensor_code(recipe)
        teacher.load()
        return teacher

    def policy(self) -> Policy:
        """Acting and labelling, to be closed by the caller."""
        return self.ready.policy()

    def announce(self, *, labelled: int, acted: int, mean_turns: float | None) -> None:
        """Say how often it will be asked, where each answer costs: in every state of `labelled` trajectories of the
        student and of `acted` of its own. `mean_turns`: of a trajectory, as far as it is known."""
        if not self._recipe.teacher.max_connections or not labelled + acted:
            return
        most = (labelled + acted) * self._recipe.scaffold.max_turns
        guess = "" if mean_turns is None else f"about {round((labelled + acted) * mean_turns):,}, "
        self._reporter.note(
            f"the teacher {self._recipe.teacher.shown_name} will be asked in every state of {labelled:,} trajectories "
            f"of the student, and acts in {acted:,} of its own: {guess}at most {most:,} answers"
        )
