"""What is not finite: trained weights, or a gradient; then whose it is. Every rank looks, and all know the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from turnmix.core.errors import TrainingError
from turnmix.training.optimizer import clip
from turnmix.training.ranks import Ranks
from turnmix.training.sharding import whole
from turnmix.training.tree import TokenTree


def check_weights(model: Any, ranks: Ranks, *, place: str) -> None:
    """Raises TrainingError: a trained weight of `model` is not finite, as of `place`. Every rank must ask."""
    wrong = 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            held = parameter.detach()
            held = held.to_local() if isinstance(held, DTensor) else held
            wrong += not bool(held.isfinite().all())
    if ranks.sum(torch.tensor(float(wrong), device=ranks.device)).item():
        raise TrainingError(
            f"{place}: weights are not finite: learner.learning_rate is too large, or the model that was loaded is "
            "damaged"
        )


def culprit(
    trees: Sequence[TokenTree], loss_of: Callable[[TokenTree], Tensor], optimizer: torch.optim.Optimizer
) -> str:
    """The first of `trees` that alone gives a loss or a gradient that is not finite, by its trajectory or task."""
    for tree in trees:
        loss = loss_of(tree)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = whole(clip(optimizer, None)).item()
        optimizer.zero_grad()
        if not math.isfinite(loss.item()) or not math.isfinite(norm):
            return tree.group
    return f"{len(trees)} trees together, the first of {trees[0].group}"
