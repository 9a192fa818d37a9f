"""What a user configures of the objective. Apart from it, so that reading a recipe does not import torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from turnmix.core.settings import Settings

ObjectiveKind = Literal["cross_entropy", "clipped_ratio", "reverse_kl"]
Average = Literal["token", "trajectory"]

_DEFAULTS: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "clipped_ratio": {"divide_by_std": True},
    "reverse_kl": {"estimate": "sampled"},
}
_CLIP = {"clip_low": 0.2, "clip_high": 0.2}
_DEFAULT_TOP_K = 64


class ObjectiveSettings(Settings):
    """The loss of a taught token, and what holds the student back (paper Eq. 14). A parameter that the kind
    does not take is refused; one left out gets its kind's default."""

    kind: ObjectiveKind = "cross_entropy"
    """Set by the method. cross_entropy: −w log π; clipped_ratio: −min(ratio·w, clip(ratio)·w);
    reverse_kl: KL(student ‖ teacher)."""
    clip_low: float | None = Field(default=None, gt=0, le=1)
    """clipped_ratio, and reverse_kl with ratio: the ratio to the sampling student is clipped at 1 − clip_low."""
    clip_high: float | None = Field(default=None, gt=0)
    """And at 1 + clip_high. DAPO's is larger than clip_low: 0.28."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Where w < 0 no ratio counts for more than this, such as 3: a token that became much likelier does not outweigh
    all others; null: off."""
    divide_by_std: bool | None = None
    """clipped_ratio: an advantage is the reward less its group's mean, divided by the group's standard deviation,
    that of the population (a mean over all n rollouts, not over n − 1); false: not divided."""
    estimate: Literal["sampled", "top_k", "full"] | None = None
    """reverse_kl: from the sampled tokens alone (the policy gradient of Eq. 14, with
    w = log π_teacher − log π_student), over the student's likeliest tokens and the rest as one, or over the
    whole vocabulary. The last two need a local teacher, and compare at temperature 1."""
    ratio: bool | None = None
    """reverse_kl, estimate sampled: weigh a token by the clipped ratio π / π_sampling too. All steps of an iteration
    but its first learn from tokens of an older student. false: they then lower (log π − log π_teacher)² / 2 of those
    tokens, whoever sampled them; true: the divergence of the student as it is."""
    top_k: int | None = Field(default=None, ge=1)
    """reverse_kl, estimate top_k: how many of the student's likeliest tokens."""
    average: Average = "token"
    """What the loss of an optimiser step, and every figure of it, is a mean over. token: all label tokens of the
    step, so that a trajectory weighs as much as it is long; trajectory: its trajectories, each the mean over its own
    label tokens, so that all weigh alike."""
    kl_weight: float = Field(default=0.0, ge=0)
    """λ of the regulariser λ · KL(student ‖ base student), a mean as `average` says; 0: off."""

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        kind = given.get("kind", "cross_entropy")
        filled = {**(_DEFAULTS.get(kind, {}) if isinstance(kind, str) else {}), **given}
        if filled.get("estimate") == "top_k":
            filled.setdefault("top_k", _DEFAULT_TOP_K)
        if filled.get("estimate") == "sampled":
            filled.setdefault("ratio", False)
        has_ratio = kind == "clipped_ratio" or filled.get("ratio") is True
        return {**(_CLIP if has_ratio else {}), **filled}

    @model_validator(mode="after")
    def _check(self) -> ObjectiveSettings:
        for kind, parameters in _DEFAULTS.items():
            for name in parameters:
                if kind != self.kind and (value := getattr(self, name)) is not None:
                    raise ValueError(
                        f"objective.{name} = {value}: the objective {self.kind} has no {name}; leave it out"
                    )
        for name in ("clip_low", "clip_high", "dual_clip", "ratio"):
            value = getattr(self, name)
            if value is None or (self.estimate == "sampled" if name == "ratio" else self.has_ratio):
                continue
            if self.kind == "reverse_kl" and name == "ratio":
                fix = f"estimate {self.estimate} sums over tokens instead of sampling them: leave it out"
            elif self.kind == "reverse_kl":
                fix = "it clips a ratio: set objective.ratio to true, with estimate sampled, or leave it out"
            else:
                fix = f"the objective {self.kind} has no {name}; leave it out"
            raise ValueError(f"objective.{name} = {value}: {fix}")
        if self.top_k is not None and self.estimate != "top_k":
            raise ValueError(
                f"objective.top_k = {self.top_k}: set objective.estimate to top_k, or leave it out"
            )
        return self

    @property
    def has_ratio(self) -> bool:
        """Are tokens weighed by π / π_sampling?"""
        return self.kind == "clipped_ratio" or self.ratio is True

    @property
    def needs_scores(self) -> bool:
        """Must a teacher's log π of the sampled tokens be there before learning?"""
        return self.estimate == "sampled"

    @property
    def runs_teacher(self) -> bool:
        """Does a local teacher run beside the student on every batch?"""
        return self.estimate in ("top_k", "full")
