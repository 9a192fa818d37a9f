"""The student of a run: one model in this process that acts and learns, or one that acts alone.

In: a recipe, and the checkpoint at which it stands. Out: what the loop asks of a student.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.assembly.machine import prepare_tensor_code
from turnmix.assembly.model_location import model_location
from turnmix.assembly.server import Serving, served_alone, serving, weights_of
from turnmix.assembly.student_text import StudentText
from turnmix.assembly.token_counter import StudentTokenCounter
from turnmix.core.transition import Transition
from turnmix.policies.policy import Policy
from turnmix.recipe.recipe import Recipe
from turnmix.rendering.check import check_tools

if TYPE_CHECKING:
    from turnmix.policies.server.student_settings import StudentSettings
    from turnmix.rendering.renderer import Renderer
    from turnmix.training.fit_report import FitReport, StepReport
    from turnmix.training.learner import Learner


def student_location(settings: StudentSettings) -> str:
    """Where the student's weights come from. Raises UserError when they are not there."""
    return model_location(settings.model, field="student.model")


def frozen_base(recipe: Recipe, *, device: Any) -> Any:
    """The student as it was before any training, in a copy of its own that never changes.

    Raises:
        UserError: it is not there.
    """
    from turnmix.policies.local.loading import load_model

    model, _ = load_model(student_location(recipe.student))
    return model.to(device).requires_grad_(False)


class LearningStudent(StudentText):
    """One model in this process that acts and learns."""

    def __init__(
        self,
        *,
        learner: Learner,
        renderer: Renderer,
        tokenizer: Any,
        recipe: Recipe,
        checkpoint: Path | None,
        server: Serving | None,
    ) -> None:
        """`checkpoint`: where it stands. `server`: what it acts through; None: it acts in this process."""
        super().__init__(renderer=renderer, tokenizer=tokenizer, max_context=learner.max_context)
        self.learner = learner
        self.server = server
        self._recipe = recipe
        self._checkpoint = checkpoint

    def serving(self, *, log: Path, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """Its server is open inside, with the student's weights: see `turnmix.assembly.server.serving`."""
        return serving(self.server, self._recipe, checkpoint=self._checkpoint, log=log, say=say)

    @property
    def has_room_beside_learning(self) -> bool:
        """Whether its base may act while it learns: an accelerator's memory is what learning takes."""
        return self.learner.device.type == "cpu"

    @property
    def acts_twice(self) -> bool:
        """Whether two of its policies may act at one time."""
        return self.server is None or self.server.takes_many_requests

    def policy(self, *, greedy: bool) -> Policy:
        """The student as it was last saved, or loaded, acting."""
        if self.server is not None:
            return self.server.policy(greedy=greedy)
        from turnmix.policies.local.policy import LocalPolicy

        return LocalPolicy(self.learner.acting_model, self.renderer, self._recipe.student, greedy=greedy)

    def base_policy(self) -> Policy:
        """The student as it was before any training, in a copy of its own, acting greedily."""
        from turnmix.policies.local.policy import LocalPolicy

        model = frozen_base(self._recipe, device=self.learner.device)
        return LocalPolicy(model, self.renderer, self._recipe.student, greedy=True)

    def learn(
        self,
        transitions: list[Transition],
        *,
        generator: random.Random,
        on_step: Callable[[StepReport], None],
    ) -> FitReport:
        """Train on `transitions`, as the recipe's learner section says. The list is empty afterwards: no text of it is
        held while the student learns."""
        transitions.reverse()
        one_by_one = (transitions.pop() for _ in range(len(transitions)))
        return self.learner.fit(one_by_one, generator=generator, on_step=on_step)

    def save(self, checkpoint: Path) -> None:
        """Weights, tokenizer and optimiser: whole or not at all. Its server acts with them from now on."""
        from turnmix.training.checkpoint import save_checkpoint

        save_checkpoint(
            checkpoint, model=self.learner.acting_model, tokenizer=self.tokenizer, learner=self.learner
        )
        if self.server is not None:
            self.server.renew(weights_of(self._recipe, checkpoint=checkpoint))

    def close(self) -> None:
        """End learning, on all ranks."""
        from turnmix.training.ranks import Ranks

        self.learner.close()
        Ranks.leave()


def acting_student(
    recipe: Recipe, *, location: str, moment: datetime | None = None, greedy: bool = True
) -> Policy:
    """A student that only acts; its template shows `moment` as now. To be closed: it may have a server of its own.
    `greedy`: else it samples as the recipe says."""
    prepare_tensor_code(recipe)
    if recipe.student.server is not None:
        return served_alone(recipe, location=location, moment=moment, greedy=greedy)
    return load_acting_student(recipe, location=location, moment=moment).policy(greedy=greedy)


class ActingStudent:
    """A student in this process that acts and is asked what it thinks of tokens; it learns nothing."""

    def __init__(self, recipe: Recipe, model: Any, tokenizer: Any, renderer: Renderer) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.renderer = renderer
        self.token_counter = StudentTokenCounter(renderer, tokenizer)
        self._recipe = recipe

    def policy(self, *, greedy: bool) -> Policy:
        """Acting; `greedy`: else it samples as the recipe says."""
        from turnmix.policies.local.policy import LocalPolicy

        return LocalPolicy(self.model, self.renderer, self._recipe.student, greedy=greedy)


def load_acting_student(recipe: Recipe, *, location: str, moment: datetime | None = None) -> ActingStudent:
    """Raises UserError: it cannot be a student."""
    from turnmix.policies.local.loading import load_student

    prepare_tensor_code(recipe)
    model, tokenizer, renderer = load_student(
        recipe.student, source=location, tool_calls=recipe.scaffold.tool_calls, moment=moment
    )
    check_tools(renderer, recipe.offered_tools)
    return ActingStudent(recipe, model, tokenizer, renderer)


def load_student_of_run(
    recipe: Recipe, *, base: Path | None, checkpoint: Path | None, moment: datetime | None = None
) -> ActingStudent:
    """The student of a run with the numbers with which it acts beside its learner: in float32, with its adapter apart.
    `base`: where the base model lies, None: where the recipe says; `checkpoint`: None: it stands at the base model.

    Raises:
        UserError: it cannot be loaded, or not be used as a student.
    """
    import torch

    from turnmix.policies.local.loading import load_student
    from turnmix.training.adapter import ADAPTER, add_adapter, read_adapter
    from turnmix.training.sharding import set_trained_weights

    prepare_tensor_code(recipe)
    lora = recipe.learner.lora
    found = base or student_location(recipe.student) if checkpoint is None or lora is not None else checkpoint
    model, tokenizer, renderer = load_student(
        recipe.student,
        source=found,
        dtype=torch.float32,
        tool_calls=recipe.scaffold.tool_calls,
        moment=moment,
        takes_tokens=recipe.student.takes_tokens,
    )
    check_tools(renderer, recipe.offered_tools)
    if lora is not None and checkpoint is not None:
        add_adapter(model, lora, seed=0)
        set_trained_weights(model, dict(read_adapter(checkpoint / ADAPTER)))
    return ActingStudent(recipe, model.requires_grad_(False), tokenizer, renderer)


def sampling_student(
    recipe: Recipe, *, location: str, moment: datetime | None = None
) -> tuple[Policy, StudentTokenCounter]:
    """A student that only acts, as in the rollouts of a run, and what counts its tokens. To be closed. Raises as
    `acting_student`."""
    if recipe.student.server is None:
        student = load_acting_student(recipe, location=location, moment=moment)
        return student.policy(greedy=False), student.token_counter
    prepare_tensor_code(recipe)
    served = served_alone(recipe, location=location, moment=moment, greedy=False)
    return served, served.token_counter
