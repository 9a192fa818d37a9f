"""What a user configures of learning. Apart from the learner, so that reading a recipe does not import
torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from turnmix.core.settings import Settings

DecayRate = Annotated[float, Field(ge=0, lt=1)]


class LoraSettings(Settings):
    """Low-rank matrices learn instead of the weights: W + alpha/rank · B·A."""

    rank: int = Field(default=16, ge=1)
    """Rows of A and columns of B."""
    alpha: int = Field(default=32, ge=1)
    """The matrices' product is scaled by alpha / rank."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which matrices get them: names such as q_proj, or all but embedding and head."""


class LearnerSettings(Settings):
    """How the student learns from one batch of transitions."""

    learning_rate: float = Field(default=3e-6, gt=0)
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "cosine"] = "constant"
    """After its warm-up the learning rate stays as it is (constant), or falls to min_learning_rate along half a
    cosine, over the steps of one batch of transitions: each iteration begins it anew."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Where the cosine ends."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """The share of those steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay of matrices; vectors (norms, biases) never decay."""
    betas: tuple[DecayRate, DecayRate] = (0.9, 0.999)
    """Decay rates of AdamW's two moments, which go on from one iteration to the next, also in a resumed run."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """The largest L2 norm of a step's gradient; null: no limit."""
    tree: Literal["trajectory", "task"] = "trajectory"
    """What shares a token tree, and so computes shared prefixes once: the transitions of one trajectory, or of
    all trajectories of one task that an optimiser step has. Steps and gradients are the same."""
    batch_size: int = Field(default=16, ge=1)
    """Trajectories in one optimiser step, whatever shares a tree."""
    epochs: int = Field(default=3, ge=1)
    """Passes over one batch of transitions."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the passes compute in. Weights and optimiser state stay in float32: at small learning rates
    bfloat16 would round most updates away."""
    tokens_per_pass: int = Field(default=8192, ge=1)
    """Tree rows in one forward pass. A larger tree is split where that repeats at most a quarter of its rows, and
    gets passes of more rows where it cannot be: a value below the longest trajectory saves no memory."""
    max_context: int | None = Field(default=None, ge=2)
    """A transition of more tokens is dropped and counted; null: the model's own limit."""
    gradient_checkpointing: bool = False
    """Compute each layer's activations again in the backward pass instead of keeping them: about a third more
    time, far less memory."""
    lora: LoraSettings | None = None
    """Train low-rank matrices alone; null: all weights."""

    @model_validator(mode="after")
    def _check_rates(self) -> LearnerSettings:
        least = self.min_learning_rate
        if least and self.schedule == "constant":
            raise ValueError(
                f"learner.min_learning_rate = {least}: a constant schedule never falls: set learner.schedule to "
                "cosine, or leave it out"
            )
        if least > self.learning_rate:
            raise ValueError(
                f"learner.min_learning_rate = {least}: more than learner.learning_rate {self.learning_rate}: set it to "
                "less"
            )
        return self
