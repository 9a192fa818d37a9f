"""What a user configures of the objective: a class a kind, each with its own fields only.

Apart from what it configures, so that reading a recipe does not import torch. A loss of one's own is a subclass of
`ObjectiveSettings` with a `make`, named in a recipe as `objective.kind: package.module:Name`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, model_validator

from turnmix.core.credentials import masked
from turnmix.core.doors import DoorSettings

if TYPE_CHECKING:
    from turnmix.training.token_loss import TokenLoss

Average = Literal["token", "trajectory"]
DEFAULT_CLIP = 0.2
DEFAULT_TOP_K = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParts:
    """What a loss may need of the run."""

    vocabulary: int | None = None
    """Tokens that student and teacher share: logits behind them are padding. None: all of them count."""
    temperature: float = 1.0
    """At which the student sampled."""


class ObjectiveSettings(DoorSettings):
    """The loss of a taught token, and what holds the student back (paper Eq. 14). A parameter that the kind
    does not take is refused; one left out gets its kind's default."""

    kind: str
    """Which loss; set by the method."""
    average: Average = "token"
    """What the loss of an optimiser step, and every figure of it, is a mean over. token: all label tokens of the
    step, so that a trajectory weighs as much as it is long; trajectory: its trajectories, each the mean over its own
    label tokens, so that all weigh alike."""
    kl_weight: float = Field(default=0.0, ge=0)
    """λ of the regulariser λ · KL(student ‖ base student), a mean as `average` says; 0: off."""

    @property
    def has_ratio(self) -> bool:
        """Are tokens weighed by π / π_sampling? Then the student's own tokens are taught, with log π of each."""
        return False

    @property
    def needs_scores(self) -> bool:
        """Must a teacher's log π of the taught tokens be there before learning?"""
        return False

    @property
    def runs_teacher(self) -> bool:
        """Does a local teacher run beside the student on every batch?"""
        return False

    @property
    def learns_from_samples(self) -> bool:
        """Is it made for tokens that the student itself sampled, from all of them and with their log π?"""
        return self.has_ratio or self.needs_scores or self.runs_teacher

    @property
    def figures(self) -> tuple[str, ...]:
        """What the loss tells of each token beside its loss: names in the order in which it tells them. A run's
        summary shows the mean of each."""
        return ()

    def make(self, parts: LossParts) -> TokenLoss:
        """The loss of a token."""
        raise NotImplementedError(f"{type(self).__name__} has no make(parts): write one that returns a loss")

    @model_validator(mode="before")
    @classmethod
    def _of_this_kind(cls, given: Any) -> Any:
        """Older recipes hold null for what another kind has: it is left out. What is not null is refused."""
        if not isinstance(given, dict) or cls not in OBJECTIVES.values():
            return given
        foreign = {name for each in OBJECTIVES.values() for name in each.model_fields} - set(cls.model_fields)
        for name in sorted(foreign & {name for name, value in given.items() if value is not None}):
            kind = get_args(cls.model_fields["kind"].annotation)[0]
            raise ValueError(
                f"objective.{name} = {masked(given[name])}: the objective {kind} has no {name}; leave it out"
            )
        # null is another word for the default.
        return {name: value for name, value in given.items() if value is not None}


class CrossEntropySettings(ObjectiveSettings):
    """−w log π of each taught token."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    """Set by the method."""

    @property
    def figures(self) -> tuple[str, ...]:
        return ("mean_weight",)

    def make(self, parts: LossParts) -> TokenLoss:
        from turnmix.training.token_loss import CrossEntropy

        return CrossEntropy()


class ClippedRatioSettings(ObjectiveSettings):
    """−min(ratio·w, clip(ratio)·w), with the ratio of a token's probability to that when it was sampled."""

    kind: Literal["clipped_ratio"] = "clipped_ratio"
    """Set by the method."""
    clip_low: float = Field(default=DEFAULT_CLIP, gt=0, le=1)
    """The ratio to the sampling student is clipped at 1 − clip_low."""
    clip_high: float = Field(default=DEFAULT_CLIP, gt=0)
    """And at 1 + clip_high. DAPO's is larger than clip_low: 0.28."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Where w < 0 no ratio counts for more than this, such as 3: a token that became much likelier does not outweigh
    all others; null: off."""
    divide_by_std: bool = True
    """An advantage is the reward less its group's mean, divided by the group's standard deviation, that of the
    population (a mean over all n rollouts, not over n − 1); false: not divided."""

    @property
    def has_ratio(self) -> bool:
        return True

    @property
    def figures(self) -> tuple[str, ...]:
        return ("mean_weight", "clip_share")

    def make(self, parts: LossParts) -> TokenLoss:
        from turnmix.training.token_loss import Clip, ClippedRatio

        clip = Clip(low=self.clip_low, high=self.clip_high, dual=self.dual_clip)
        return ClippedRatio(clip, temperature=parts.temperature)


class ReverseKlSettings(ObjectiveSettings):
    """The divergence KL(student ‖ teacher) at each taught token."""

    kind: Literal["reverse_kl"] = "reverse_kl"
    """Set by the method."""
    estimate: Literal["sampled", "top_k", "full"] = "sampled"
    """From the sampled tokens alone (the policy gradient of Eq. 14, with w = log π_teacher − log π_student), over the
    student's likeliest tokens and the rest as one, or over the whole vocabulary. The last two need a local teacher, and
    compare at temperature 1."""
    ratio: bool = False
    """With estimate sampled: weigh a token by the clipped ratio π / π_sampling too. All steps of an iteration but its
    first learn from tokens of an older student. false: they then lower (log π − log π_teacher)² / 2 of those
    tokens, whoever sampled them; true: the divergence of the student as it is."""
    clip_low: float | None = Field(default=None, gt=0, le=1)
    """With ratio: it is clipped at 1 − clip_low."""
    clip_high: float | None = Field(default=None, gt=0)
    """And at 1 + clip_high."""
    dual_clip: float | None = Field(default=None, gt=1)
    """With ratio, where w < 0: no ratio counts for more than this, such as 3; null: off."""
    top_k: int | None = Field(default=None, ge=1)
    """With estimate top_k: how many of the student's likeliest tokens."""

    @model_validator(mode="after")
    def _fill_defaults(self) -> ReverseKlSettings:
        """Those that other fields decide; what was given stays the only thing that counts as set."""
        defaults: dict[str, Any] = {"top_k": DEFAULT_TOP_K} if self.estimate == "top_k" else {}
        if self.ratio:
            defaults |= {"clip_low": DEFAULT_CLIP, "clip_high": DEFAULT_CLIP}
        for name, default in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        return self

    @model_validator(mode="after")
    def _check(self) -> ReverseKlSettings:
        if self.ratio and self.estimate != "sampled":
            raise ValueError(
                f"objective.ratio = {self.ratio}: estimate {self.estimate} sums over tokens instead of sampling them: "
                "leave it out"
            )
        for name in ("clip_low", "clip_high", "dual_clip"):
            if (value := getattr(self, name)) is not None and not self.ratio:
                raise ValueError(
                    f"objective.{name} = {value}: it clips a ratio: set objective.ratio to true, with estimate "
                    "sampled, or leave it out"
                )
        if self.top_k is not None and self.estimate != "top_k":
            raise ValueError(
                f"objective.top_k = {self.top_k}: set objective.estimate to top_k, or leave it out"
            )
        return self

    @property
    def has_ratio(self) -> bool:
        return self.ratio

    @property
    def needs_scores(self) -> bool:
        return self.estimate == "sampled"

    @property
    def runs_teacher(self) -> bool:
        return self.estimate != "sampled"

    @property
    def figures(self) -> tuple[str, ...]:
        return ("kl_teacher", "clip_share") if self.has_ratio else ("kl_teacher",)

    def make(self, parts: LossParts) -> TokenLoss:
        from turnmix.training.token_loss import Clip, Divergence, SampledDivergence

        if self.runs_teacher:
            return Divergence(vocabulary=parts.vocabulary, top_k=self.top_k)
        clip = None
        if self.clip_low is not None and self.clip_high is not None:
            clip = Clip(low=self.clip_low, high=self.clip_high, dual=self.dual_clip)
        return SampledDivergence(clip, vocabulary=parts.vocabulary, temperature=parts.temperature)


OBJECTIVES: Mapping[str, type[ObjectiveSettings]] = {
    "cross_entropy": CrossEntropySettings,
    "clipped_ratio": ClippedRatioSettings,
    "reverse_kl": ReverseKlSettings,
}
"""The kinds that come with the package."""
