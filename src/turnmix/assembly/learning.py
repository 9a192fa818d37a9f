"""The student of a training run, with what its learner compares it with.

In: a recipe, its teacher, the checkpoint to begin from. Out: a `LearningStudent`, or its learner alone, and what scores
its tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.assembly.machine import is_follower, prepare_tensor_code
from turnmix.assembly.served_student import ServedStudent
from turnmix.assembly.server import MakeServing, make_student_server
from turnmix.assembly.student import LearningStudent, frozen_base, student_location
from turnmix.assembly.student_text import StudentText
from turnmix.assembly.teacher import student_tokens
from turnmix.core.errors import UserError
from turnmix.core.seed import derive_seed
from turnmix.policies.scoring import Scorer
from turnmix.policies.teacher import FrozenModel, Teacher
from turnmix.recipe.recipe import Recipe
from turnmix.rendering.check import check_tools
from turnmix.rendering.vocabulary import vocabulary_size
from turnmix.teachers.local import shared_vocabulary

if TYPE_CHECKING:
    from turnmix.rendering.renderer import Renderer
    from turnmix.training.learner import Learner
    from turnmix.training.objective import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLearner:
    """A learner, and what turns text into its student's tokens."""

    learner: Learner
    renderer: Renderer
    tokenizer: Any


def load_learner(
    recipe: Recipe,
    *,
    teacher: Teacher,
    checkpoint: Path | None,
    moment: datetime | None = None,
    acts_elsewhere: bool | None = None,
) -> LoadedLearner:
    """The learner at `checkpoint`, with its optimiser; None: the base model, nothing learned yet. Every rank calls
    this. `moment`: what templates show as now; rank 0's holds. `acts_elsewhere`: see `Learner`; None: where a server
    acts. The teacher is loaded too.

    Raises:
        UserError: it cannot be a student, or not that of the recipe's teacher.
    """
    import torch

    from turnmix.policies.local.device import check_device
    from turnmix.policies.local.loading import load_student
    from turnmix.training.checkpoint import restore_learner
    from turnmix.training.learner import Learner
    from turnmix.training.ranks import Ranks

    prepare_tensor_code(recipe)
    check_device(recipe.student.device, field="student.device")
    ranks = Ranks.join(recipe.student.device)
    base = student_location(recipe.student)
    # With LoRA a checkpoint holds merged weights; its adapter belongs on the base model.
    source = base if checkpoint is None or recipe.learner.lora else checkpoint
    model, tokenizer, renderer = load_student(
        recipe.student,
        source=source,
        dtype=torch.float32,
        device=ranks.device,
        tool_calls=recipe.scaffold.tool_calls,
        moment=ranks.agreed(moment),
        takes_tokens=recipe.student.takes_tokens,
    )
    if recipe.acts:
        check_tools(renderer, recipe.offered_tools)
    teacher.load()
    frozen = teacher.frozen_model() if _compares_models(recipe) else None
    learner = Learner(
        model,
        renderer,
        recipe.learner,
        objective=make_objective(recipe, frozen, tokenizer=tokenizer, device=ranks.device),
        ranks=ranks,
        seed=derive_seed(recipe.seed, "adapter"),
        acts_elsewhere=recipe.student.server is not None if acts_elsewhere is None else acts_elsewhere,
    )
    _check_context(frozen, learner.max_context)
    if checkpoint is not None:
        restore_learner(checkpoint, learner)
    return LoadedLearner(learner=learner, renderer=renderer, tokenizer=tokenizer)


def load_learning_student(
    recipe: Recipe,
    *,
    teacher: Teacher,
    checkpoint: Path | None,
    moment: datetime | None = None,
    make_server: MakeServing = make_student_server,
) -> LearningStudent:
    """The student of `checkpoint`, with its optimiser; None: the base model, nothing learned yet. `moment`: what
    templates show as now. `make_server`: what makes the server that it acts through, if any. The teacher is loaded too.

    Raises:
        UserError: it cannot be a student, or not that of the recipe's teacher.
    """
    import torch

    from turnmix.policies.local.token_logprobs import token_logprobs
    from turnmix.training.trial_weights import trial_weights

    loaded = load_learner(recipe, teacher=teacher, checkpoint=checkpoint, moment=moment)
    learner, renderer, tokenizer = loaded.learner, loaded.renderer, loaded.tokenizer
    server = None
    if not is_follower():
        server = make_server(
            recipe,
            ServedStudent(
                renderer=renderer,
                tokenizer=tokenizer,
                model_configuration=learner.model.config,
                own_logprobs=partial(token_logprobs, learner.acting_model),
                trial=partial(
                    trial_weights,
                    learner.acting_model,
                    tokenizer=tokenizer,
                    dtype=getattr(torch, recipe.student.dtype),
                ),
            ),
        )
    return LearningStudent(
        learner=learner,
        renderer=renderer,
        tokenizer=tokenizer,
        recipe=recipe,
        checkpoint=checkpoint,
        server=server,
    )


def make_objective(recipe: Recipe, frozen: FrozenModel | None, *, tokenizer: Any, device: Any) -> Objective:
    """The recipe's objective, with the frozen models that it compares the student with, on its `device`. `frozen`: the
    teacher's, if it is here; `tokenizer`: the student's.

    Raises:
        UserError: teacher and student have different vocabularies, or the base student is not there.
    """
    from turnmix.training.objective import Objective

    settings = recipe.objective
    base = frozen_base(recipe, device=device) if settings.kl_weight else None
    vocabulary = None
    if frozen is not None:
        vocabulary = shared_vocabulary(frozen, tokenizer)
    elif settings.needs_scores:
        vocabulary = vocabulary_size(tokenizer)
    return Objective(
        settings,
        teacher=frozen.model.to(device) if frozen is not None and settings.runs_teacher else None,
        base=base,
        vocabulary=vocabulary,
        temperature=recipe.student.temperature,
    )


def make_scorer(recipe: Recipe, teacher: Teacher, student: StudentText) -> Scorer | None:
    """What scores the student's tokens; None: nothing is to be scored. Raises UserError: the teacher cannot."""
    if not recipe.objective.needs_scores:
        return None
    return teacher.scorer(student_tokens(recipe, student.tokenizer, max_context=student.max_context))


def _compares_models(recipe: Recipe) -> bool:
    """Is the student compared with the teacher's probabilities?"""
    return recipe.objective.needs_scores or recipe.objective.runs_teacher


def _check_context(frozen: FrozenModel | None, student_context: int) -> None:
    """
    Raises:
        UserError: the teacher is to judge longer contexts than it reads.
    """
    own = None if frozen is None else frozen.context
    if own is not None and own < student_context:
        raise UserError(
            f"learner.max_context: the student learns from up to {student_context} tokens, but the teacher "
            f"reads {own}: set it to {own}"
        )
