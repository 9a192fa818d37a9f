"""Trained weights enter; nothing leaves where all are finite. Each rank looks at what it holds, all know the answer."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor

from turnmix.core.errors import TrainingError
from turnmix.training.ranks import Ranks


def check_weights(model: Any, ranks: Ranks, *, place: str) -> None:
    """Raises TrainingError: a trained weight of `model` is not finite after `place`. Every rank must ask."""
    wrong = 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            held = parameter.detach()
            held = held.to_local() if isinstance(held, DTensor) else held
            wrong += not bool(held.isfinite().all())
    if ranks.sum(torch.tensor(float(wrong), device=ranks.device)).item():
        raise TrainingError(f"{place} left weights that are not finite: learner.learning_rate is too large")
