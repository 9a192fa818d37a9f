"""In: a model and its settings. Out: AdamW over what is trained, and its learning rate at each step."""

from __future__ import annotations

import math
from typing import Any

import torch

from turnmix.training.learner_settings import LearnerSettings


def adamw(model: Any, settings: LearnerSettings) -> torch.optim.AdamW:
    """AdamW over the parameters of `model` that ask for a gradient; vectors do not decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )


def clip(optimizer: torch.optim.Optimizer, limit: float | None) -> torch.Tensor:
    """Scale the gradients down to the norm `limit`; their norm before, on a sharded model one of all ranks."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return torch.nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit)


def learning_rate(settings: LearnerSettings, step: int, num_steps: int) -> float:
    """The learning rate of `step`, counted from 0, of `num_steps`."""
    peak = settings.learning_rate
    warmup = math.ceil(settings.warmup_ratio * num_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if settings.schedule == "constant":
        return peak
    least = settings.min_learning_rate
    part = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))
    return least + (peak - least) * part
