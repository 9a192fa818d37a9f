"""The teacher of a run: who acts and labels, who scores, and which model runs beside the student.

In: a recipe. Out: a `Teacher`, checked against the student before any work starts. Its model, if it is in this
process, is loaded once for all three.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from turnmix.assembly.model_location import model_location
from turnmix.core.errors import UserError
from turnmix.core.seed import derive_seed
from turnmix.core.task import Task
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.environments.oracle.solution import Solution
from turnmix.policies.endpoint.dialect import Dialect
from turnmix.policies.endpoint.policy import EndpointPolicy
from turnmix.policies.endpoint.settings import redacted_url
from turnmix.policies.local.settings import LocalTeacherSettings
from turnmix.policies.policy import Policy
from turnmix.policies.scoring import Scorer
from turnmix.recipe.recipe import EndpointTeacherSettings, OracleSettings, Recipe

if TYPE_CHECKING:
    from turnmix.training.objective import Objective


class Teacher:
    """Made by `load`."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        model: Any = None,
        tokenizer: Any = None,
        renderer: Any = None,
        dialect: Dialect | None = None,
    ) -> None:
        """The first three are those of a local teacher, `renderer` if it acts or labels; `dialect` is what is known
        of a teacher's endpoint."""
        self._recipe = recipe
        self._model = model
        self._tokenizer = tokenizer
        self._renderer = renderer
        self._dialect = dialect or dialect_of(recipe)

    @classmethod
    def load(
        cls,
        recipe: Recipe,
        *,
        moment: datetime | None = None,
        dialect: Dialect | None = None,
        is_acting: bool | None = None,
    ) -> Teacher:
        """`moment`: what its template shows as now. `dialect`: what is known of a teacher's endpoint. `is_acting`:
        will it be asked for actions; None: as the recipe says.

        Raises:
            UserError: a local teacher's model cannot be loaded, or not act and label where it is to.
        """
        settings = recipe.teacher
        if not isinstance(settings, LocalTeacherSettings):
            return cls(recipe, dialect=dialect)
        import torch

        from turnmix.policies.local.device import check_device
        from turnmix.policies.local.loading import load_model, stop_ids_of
        from turnmix.policies.local.policy import refuse_unsupported
        from turnmix.rendering.renderer import Renderer

        device = check_device(settings.device, field="teacher.device")
        source = model_location(settings.model, field="teacher.model")
        dtype = getattr(torch, settings.dtype)
        model, tokenizer = load_model(source, dtype=dtype, field="teacher.model")
        renderer = None
        if recipe.asks_teacher if is_acting is None else is_acting:
            refuse_unsupported(model.config, settings.model, field="teacher.model")
            renderer = Renderer(
                tokenizer,
                field="teacher.model",
                tool_calls=recipe.scaffold.tool_calls,
                stop_ids=stop_ids_of(model.generation_config),
                moment=moment,
            )
            renderer.check()
        model.to(device).requires_grad_(False)
        return cls(recipe, model=model, tokenizer=tokenizer, renderer=renderer)

    def opener(self, solution: Callable[[Task], Solution]) -> Callable[[], Policy]:
        """What opens the teacher as a policy; each opened one is to be closed. `solution` is the oracle's."""
        settings = self._recipe.teacher
        if isinstance(settings, OracleSettings):
            return lambda: OraclePolicy(solution)
        if isinstance(settings, EndpointTeacherSettings):
            return lambda: EndpointPolicy(
                settings, generator=self._generator("endpoint"), dialect=self._dialect
            )
        from turnmix.policies.local.teacher import LocalTeacher

        return lambda: LocalTeacher(self._model, self._renderer, settings)

    def scorer(self, student_tokenizer: Any, *, student_context: int) -> Scorer | None:
        """What scores the student's tokens, in contexts of up to `student_context`; None: nothing is to be scored.

        Raises:
            UserError: the teacher gives no log-probabilities, those of another vocabulary, or not of so many tokens.
        """
        settings = self._recipe.teacher
        if not self._recipe.objective.needs_scores:
            return None
        if isinstance(settings, EndpointTeacherSettings):
            from turnmix.policies.endpoint.scorer import EndpointScorer

            scorer = EndpointScorer(settings.for_scoring(), generator=self._generator("scorer"))
            vocabulary = max(student_tokenizer.get_vocab().values()) + 1
            scorer.check(
                vocabulary=vocabulary,
                name_of=lambda token: str(student_tokenizer.decode([token])),
                student_context=student_context,
            )
            scorer.check_length(min(student_context, self._recipe.longest_context))
            return scorer
        from turnmix.training.tree_scorer import TreeScorer

        vocabulary = self._shared_vocabulary(student_tokenizer)
        return TreeScorer(
            self._model, vocabulary=vocabulary, tokens_per_pass=self._recipe.learner.tokens_per_pass
        )

    def objective(self, student_tokenizer: Any, *, device: Any) -> Objective:
        """The recipe's objective, with the frozen models that it compares the student with, on its `device`.

        Raises:
            UserError: teacher and student have different vocabularies, or the base student is not there.
        """
        from turnmix.policies.local.loading import load_model
        from turnmix.training.objective import Objective

        settings, student = self._recipe.objective, self._recipe.student
        base = None
        if settings.kl_weight:
            base, _ = load_model(model_location(student.model, field="student.model"))
            base.to(device).requires_grad_(False)
        vocabulary = None
        if self._model is not None and (settings.runs_teacher or settings.needs_scores):
            vocabulary = self._shared_vocabulary(student_tokenizer)
        elif settings.needs_scores:
            vocabulary = max(student_tokenizer.get_vocab().values()) + 1
        return Objective(
            settings,
            teacher=self._model.to(device) if settings.runs_teacher else None,
            base=base,
            vocabulary=vocabulary,
            temperature=student.temperature,
        )

    def _shared_vocabulary(self, student_tokenizer: Any) -> int:
        """How many tokens both have; also: can the teacher be read as a tree, and as far as the student?"""
        from turnmix.rendering.vocabulary import check_same_vocabulary
        from turnmix.training.architecture import check_architecture

        check_architecture(self._model, field="teacher.model")
        return check_same_vocabulary(student_tokenizer, self._tokenizer)

    def check_context(self, student_context: int) -> None:
        """
        Raises:
            UserError: the teacher is to judge longer contexts than it reads.
        """
        own = None if self._model is None else getattr(self._model.config, "max_position_embeddings", None)
        needed = self._recipe.objective.needs_scores or self._recipe.objective.runs_teacher
        if needed and own is not None and own < student_context:
            raise UserError(
                f"learner.max_context: the student learns from up to {student_context} tokens, but the teacher "
                f"reads {own}: set it to {own}"
            )

    def _generator(self, name: str) -> random.Random:
        return random.Random(derive_seed(self._recipe.seed, name))


def dialect_of(recipe: Recipe) -> Dialect:
    """What is known of a teacher's endpoint before anything was asked: what the user set of its requests."""
    teacher = recipe.teacher
    fields = teacher.extra_body if isinstance(teacher, EndpointTeacherSettings) else ()
    return Dialect(kept=frozenset(fields))


def teacher_name(recipe: Recipe) -> str:
    """The teacher as it may be shown and stored."""
    teacher = recipe.teacher
    if isinstance(teacher, EndpointTeacherSettings):
        return f"{teacher.model} at {redacted_url(teacher.endpoint)}"
    return teacher.model if isinstance(teacher, LocalTeacherSettings) else teacher.kind
