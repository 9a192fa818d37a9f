"""What a fit tells of itself: each optimiser step as it was made, and all of them at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from turnmix.core.untaught import Untaught


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step."""

    step: int
    """Counted from 1 within the fit."""
    num_steps: int
    loss: float
    """Mean of the objective over the step's label tokens, or as `objective.average` says, before the step."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """One fit. Counts are of one epoch."""

    transitions: int
    """Given, dropped ones included."""
    dropped_too_long: int
    untaught: tuple[Untaught, ...]
    """Those whose target the student cannot say, or nobody should."""
    label_tokens: int
    tree_tokens: int
    """Rows computed, in the first epoch."""
    separate_tokens: int
    """Rows that the same transitions have when each is computed alone."""
    steps: int
    """Optimiser steps of all epochs."""
    first_epoch_loss: float | None
    """Mean of the objective, each part before its step; None: nothing to learn from."""
    last_epoch_loss: float | None
    passes: Mapping[str, int]
    """What its forward passes computed, as `PassCounts` names it."""
    objective: Mapping[str, float]
    """The objective's own figures, as means like the loss over all epochs; empty: nothing to learn from.
    `first_step_clip_share` is of the first step alone: there the student is the one that sampled, so every ratio should
    be 1, and what is clipped all the same is the difference between how tokens are sampled and how they are learned
    (bfloat16, another engine)."""
    seconds: float
