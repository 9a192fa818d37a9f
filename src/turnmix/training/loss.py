"""Hidden states and label triples enter, Σ −w · log π(label) leaves (paper Eq. 14, without its
normalisation).

Only rows that carry a label go through the head, and never so many at once that their logits over the whole
vocabulary outgrow `MAX_LOGITS`: past that, each chunk's logits are computed again in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

MAX_LOGITS = 2**24
"""Logits held at once: 64 MiB in float32."""


def weighted_cross_entropy(
    hidden_ND: Tensor, head: Any, rows_L: Tensor, ids_L: Tensor, weights_L: Tensor
) -> Tensor:
    """Σ over the labels of −weight · log softmax(head(hidden[row]))[id].

    Shapes: N rows, D hidden size, L labels. A row of a fork stands once for each of its labels.
    """
    hidden_LD = hidden_ND.index_select(0, rows_L)
    chunk = max(1, MAX_LOGITS // head.weight.shape[0])
    if len(rows_L) <= chunk:
        return _chunk_loss(head, hidden_LD, ids_L, weights_L)
    pieces = [torch.split(tensor, chunk) for tensor in (hidden_LD, ids_L, weights_L)]
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    losses = [checkpoint(_chunk_loss, head, *piece, **options) for piece in zip(*pieces, strict=True)]
    return torch.stack(losses).sum()


def _chunk_loss(head: Any, hidden_CD: Tensor, ids_C: Tensor, weights_C: Tensor) -> Tensor:
    logits_CV = head(hidden_CD).float()
    return (cross_entropy(logits_CV, ids_C, reduction="none") * weights_C).sum()
