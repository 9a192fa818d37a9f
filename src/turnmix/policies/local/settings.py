"""What a user configures of models in this process; importing it loads no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turnmix.core.settings import Settings


class LocalSettings(Settings):
    """A model in this process, and how it samples."""

    model: str
    """`nano-student`, `nano-teacher`, `babyai-student`, a path, a run directory, or a hub id."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """The weights' type where the model acts: in a server, in `turnmix evaluate`, as a teacher. What learns
    in this process acts with the float32 weights that it learns."""
    device: str = "cpu"
    """Where the model lies: `cpu`, `cuda`, `cuda:1`."""
    temperature: float = Field(default=0.7, gt=0)
    """Of rollouts; left out, 1 for grpo and opd, whose ratios are of logits divided by it. Evaluation is
    greedy."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Of rollouts: sample from the smallest set of tokens that holds this share of the probability; left out, 1 for
    grpo and opd, which take nothing else where they weigh sampled tokens."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """At most so many tokens a turn, and no more than the context leaves room for."""
