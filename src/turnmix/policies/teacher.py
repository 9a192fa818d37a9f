"""The seam between a run and who teaches: settings make a teacher, and a teacher gives what the method needs of it.

teacher = settings.make(parts)       # costs nothing yet
findings = teacher.check(...)        # before anything long, and by `turnmix doctor`
teacher.load()                       # what takes memory or time
policy = teacher.policy()            # acts and labels
scorer = teacher.scorer(student)     # gives log-probabilities of the student's tokens
frozen = teacher.frozen_model()      # runs on the student's own trees, beside it

A teacher of one's own is a subclass of `TeacherSettings`, named as `teacher.kind: package.module:Name`, and one of
`Teacher`. One that acts and labels gives `policy` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from turnmix.core.doors import DoorSettings
from turnmix.core.finding import Finding
from turnmix.policies.policy import Policy
from turnmix.policies.scoring import Scorer
from turnmix.rendering.refusal import ToolCalls
from turnmix.rendering.vocabulary import vocabulary_size


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherParts:
    """What a run tells a teacher of itself."""

    seed: int
    """The recipe's; a teacher derives its own from it."""
    acts: bool
    """Will it act or label? Else it scores at most."""
    source: str
    """The name of the task source."""
    expert: Callable[[], Policy | None]
    """Opens the expert of the tasks' world; None: it has none."""
    locate: Callable[[str], str]
    """The name of a model, as a recipe gives it -> its directory, or its id at the hub. Raises UserError."""
    tool_calls: ToolCalls
    """How the scaffold's tools are called."""
    max_tokens: int | None
    """Tokens of the longest conversation, without its last answer; None: the tasks' world alone knows."""
    concurrency: int
    """Trajectories under way at one moment."""
    tokens_per_pass: int
    """Rows of one pass of a model in this process."""
    moment: datetime | None = None
    """What chat templates show as now; None: now itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentTokens:
    """Whose tokens are scored."""

    tokenizer: Any
    max_context: int
    """Tokens of the longest context that the student learns from."""
    longest: int
    """Tokens of the longest conversation that will come, with its answer."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return vocabulary_size(self.tokenizer)

    def name_of(self, token_id: int) -> str:
        """A token as text."""
        return str(self.tokenizer.decode([token_id]))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenModel:
    """A language model of transformers' kind in this process, whose weights never change."""

    model: Any
    tokenizer: Any
    field: str
    """Where the recipe names it."""

    @property
    def context(self) -> int | None:
        """Tokens that it reads at most; None: it does not tell."""
        return getattr(self.model.config, "max_position_embeddings", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHere:
    """A model that is loaded into this process."""

    model: str
    device: str
    dtype: str


class Teacher:
    """Who teaches. Costs nothing before `load`."""

    def check(self, *, is_hurried: bool) -> Iterable[Finding]:
        """Is it ready? `is_hurried`: an answer is wanted in seconds; else it is as patient as in the run itself, and
        may keep what it learns for that."""
        return ()

    def check_scoring(self, student: StudentTokens) -> Iterable[Finding]:
        """Will it score the student's tokens? An answer is wanted in seconds."""
        return ()

    def load(self) -> None:
        """Load what takes memory or time, once.

        Raises:
            UserError: it is not there, or not fit to teach.
        """

    def policy(self) -> Policy:
        """Open it as one who acts and labels, to be closed by the caller."""
        raise NotImplementedError

    def scorer(self, student: StudentTokens) -> Scorer:
        """What gives its log-probabilities of the student's tokens.

        Raises:
            UserError: it gives none, those of another vocabulary, or not of so many tokens.
        """
        raise NotImplementedError

    def frozen_model(self) -> FrozenModel | None:
        """Its model, where it is in this process; None: it is not."""
        return None


class TeacherSettings(DoorSettings):
    """Which teacher, and how it is asked."""

    kind: str
    """Which teacher."""

    writes_text_calls: ClassVar[bool] = True
    """Can it call tools as text, where scaffold.tool_calls is text?"""
    gives_logprobs: ClassVar[bool] = False
    """Has it a `scorer`?"""
    gives_logits: ClassVar[bool] = False
    """Has it a `frozen_model`?"""

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.kind} teacher"

    @property
    def shown_name(self) -> str:
        """The teacher as it may be shown and stored."""
        return self.kind

    @property
    def max_connections(self) -> int:
        """Connections to servers that are open at one moment, at most."""
        return 0

    @property
    def model_here(self) -> ModelHere | None:
        """The model that it loads into this process; None: none."""
        return None

    def make(self, parts: TeacherParts) -> Teacher:
        """The teacher; nothing is loaded or asked yet.

        Raises:
            UserError: there is none for these parts.
        """
        raise NotImplementedError
