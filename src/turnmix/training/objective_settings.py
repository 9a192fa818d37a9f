"""What a user configures of the objective. Apart from it, so that reading a recipe does not import torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from turnmix.settings import Settings

ObjectiveKind = Literal["cross_entropy", "clipped_ratio", "reverse_kl"]

_DEFAULTS: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "clipped_ratio": {"clip_low": 0.2, "clip_high": 0.2, "divide_by_std": True},
    "reverse_kl": {"estimate": "sampled"},
}
_DEFAULT_TOP_K = 64
FOR_EVERY_KIND = frozenset({"kl_weight"})
"""Parameters that no method owns."""


class ObjectiveSettings(Settings):
    """The loss of a taught token, and what holds the student back (paper Eq. 14). A parameter that the kind
    does not take is refused; one left out gets its kind's default."""

    kind: ObjectiveKind = "cross_entropy"
    """Set by the method. cross_entropy: −w log π; clipped_ratio: −min(ratio·w, clip(ratio)·w);
    reverse_kl: KL(student ‖ teacher)."""
    clip_low: float | None = Field(default=None, gt=0, le=1)
    """clipped_ratio: the ratio to the sampling student is clipped at 1 − clip_low."""
    clip_high: float | None = Field(default=None, gt=0)
    """clipped_ratio: and at 1 + clip_high. DAPO's is larger than clip_low: 0.28."""
    divide_by_std: bool | None = None
    """clipped_ratio: an advantage is the reward less its group's mean, divided by the group's standard
    deviation; false: not divided."""
    estimate: Literal["sampled", "top_k", "full"] | None = None
    """reverse_kl: from the sampled tokens alone (the policy gradient of Eq. 14, with
    w = log π_teacher − log π_student), over the student's likeliest tokens and the rest as one, or over the
    whole vocabulary. The last two need a local teacher."""
    top_k: int | None = Field(default=None, ge=1)
    """reverse_kl, estimate top_k: how many of the student's likeliest tokens."""
    kl_weight: float = Field(default=0.0, ge=0)
    """λ of the regulariser λ · KL(student ‖ base student), a mean over label tokens; 0: off."""

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
        return filled

    @model_validator(mode="after")
    def _check(self) -> ObjectiveSettings:
        for kind, parameters in _DEFAULTS.items():
            for name in parameters:
                if kind != self.kind and (value := getattr(self, name)) is not None:
                    raise ValueError(
                        f"objective.{name} = {value}: the objective {self.kind} has no {name}; leave it out"
                    )
        if self.top_k is not None and self.estimate != "top_k":
            raise ValueError(
                f"objective.top_k = {self.top_k}: set objective.estimate to top_k, or leave it out"
            )
        return self

    @property
    def needs_scores(self) -> bool:
        """Must a teacher's log π of the sampled tokens be there before learning?"""
        return self.estimate == "sampled"

    @property
    def runs_teacher(self) -> bool:
        """Does a local teacher run beside the student on every batch?"""
        return self.estimate in ("top_k", "full")
