"""A teacher in this process: a language model that acts, labels, scores, and runs beside the student.

Its model is loaded once for all of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.policies.local.model_files import cached_file
from turnmix.policies.local.settings import LocalSettings
from turnmix.policies.scoring import Scorer
from turnmix.policies.teacher import (
    FrozenModel,
    ModelHere,
    StudentTokens,
    Teacher,
    TeacherParts,
    TeacherSettings,
)

if TYPE_CHECKING:
    from turnmix.policies.local.teacher import LocalTeacherPolicy
    from turnmix.rendering.renderer import Renderer

FIELD = "teacher.model"


class LocalTeacherSettings(LocalSettings, TeacherSettings):
    """A teacher in this process. It acts and labels as any other, and gives log-probabilities."""

    kind: Literal["local"] = "local"
    """Which teacher."""
    model: str = Field(min_length=1)
    """`nano-teacher`, a path, a hub id, or a run directory, whose last checkpoint it then is."""
    gives_logprobs: ClassVar[bool] = True
    gives_logits: ClassVar[bool] = True

    @property
    def shown_name(self) -> str:
        return self.model

    @property
    def model_here(self) -> ModelHere:
        return ModelHere(model=self.model, device=self.device, dtype=self.dtype)

    def make(self, parts: TeacherParts) -> LocalTeacher:
        return LocalTeacher(self, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    model: Any
    tokenizer: Any
    renderer: Renderer | None
    """None: it neither acts nor labels."""


class LocalTeacher(Teacher):
    """One model whose weights never change."""

    def __init__(self, settings: LocalTeacherSettings, parts: TeacherParts) -> None:
        self._settings = settings
        self._parts = parts
        self._loaded: _Loaded | None = None

    def check(self, *, is_hurried: bool) -> Iterable[Finding]:
        name = self._settings.model
        try:
            location = self._parts.locate(name)
        except UserError as error:
            yield Finding(subject="model", passed=False, detail=str(error))
            return
        is_here = cached_file(location, "config.json") is not None
        detail = f"{name} {'is here' if is_here else 'is fetched from the hub at the start'}"
        yield Finding(subject="model", passed=True if is_here else None, detail=detail)

    def load(self) -> None:
        if self._loaded is None:
            self._loaded = self._load()

    def _load(self) -> _Loaded:
        import torch

        from turnmix.policies.local.device import check_device
        from turnmix.policies.local.loading import load_model, stop_ids_of
        from turnmix.policies.local.policy import refuse_unsupported
        from turnmix.rendering.renderer import Renderer

        settings, parts = self._settings, self._parts
        device = check_device(settings.device, field="teacher.device")
        source = parts.locate(settings.model)
        model, tokenizer = load_model(source, dtype=getattr(torch, settings.dtype), field=FIELD)
        renderer = None
        if parts.acts:
            refuse_unsupported(model.config, settings.model, field=FIELD)
            renderer = Renderer(
                tokenizer,
                field=FIELD,
                tool_calls=parts.tool_calls,
                stop_ids=stop_ids_of(model.generation_config),
                moment=parts.moment,
            )
            renderer.check()
        model.to(device).requires_grad_(False)
        return _Loaded(model=model, tokenizer=tokenizer, renderer=renderer)

    def policy(self) -> LocalTeacherPolicy:
        from turnmix.policies.local.teacher import LocalTeacherPolicy

        loaded = self._ready()
        if loaded.renderer is None:
            raise ValueError("this teacher was made to score, not to act")
        return LocalTeacherPolicy(loaded.model, loaded.renderer, self._settings)

    def scorer(self, student: StudentTokens) -> Scorer:
        from turnmix.training.tree_scorer import TreeScorer

        frozen = self.frozen_model()
        vocabulary = shared_vocabulary(frozen, student.tokenizer)
        return TreeScorer(frozen.model, vocabulary=vocabulary, tokens_per_pass=self._parts.tokens_per_pass)

    def frozen_model(self) -> FrozenModel:
        loaded = self._ready()
        return FrozenModel(model=loaded.model, tokenizer=loaded.tokenizer, field=FIELD)

    def _ready(self) -> _Loaded:
        self.load()
        assert self._loaded is not None
        return self._loaded


def shared_vocabulary(frozen: FrozenModel, student_tokenizer: Any) -> int:
    """How many tokens it has in common with the student.

    Raises:
        UserError: it has others, or cannot be read as a tree.
    """
    from turnmix.rendering.vocabulary import check_same_vocabulary
    from turnmix.training.architecture import check_architecture

    check_architecture(frozen.model, field=frozen.field)
    return check_same_vocabulary(student_tokenizer, frozen.tokenizer)
