"""In: hidden states at label rows. Out: sums over their logits, of which no more are ever held than one chunk has.

Only rows that carry a label go through the head. Each chunk's gradient is taken at once, while its logits are
there; only the gradients of the hidden states and of the head's weight are kept for the backward pass, so
nothing is computed twice.

Legend: N rows, L labels, C labels of a chunk, D hidden size, V vocabulary, F figures beside the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

from turnmix.training.token_loss import reverse_kl

CHUNKS = 64
"""As many chunks at least: what is held of one, four times its logits, is then a small share of all logits."""
MIN_LOGITS = 2**22
"""So small a chunk, 16 MiB in float32, is not split further: the head's weight is read once a chunk."""
MAX_LOGITS = 2**26
"""So large a chunk, 256 MiB, is split in any case."""
CARD_SHARE = 1 / 16
"""Of a GPU's memory: what one chunk may take there. The weight's gradient is read and written once a chunk, so few
large ones are faster; less lies there then than in any layer's backward pass."""
LOGIT_BYTES = 32
"""Held for one logit at most: itself, its gradient, both in 16 bits, and what a divergence from other logits keeps."""

Terms = Callable[[Tensor, slice], Tensor]
"""Logits [C, V] in float32 and which of the L labels they are -> [1 + F]: the loss, then figures, all sums."""


def sum_over_labels(hidden_LD: Tensor, head: Any, terms: Terms) -> Tensor:
    """Σ over the chunks of `terms`, [1 + F]; only the first, the loss, carries a gradient."""
    places = _places(len(hidden_LD), head.weight.shape[0], hidden_LD.device)
    if type(head) is torch.nn.Linear:
        summed: Tensor = _ChunkedHead.apply(hidden_LD, head.weight, head.bias, terms, places)  # type: ignore[no-untyped-call]
        return summed

    # A head that is more than a matrix (adapters, sharding) is called, so that its own hooks run.
    def through_head(hidden_CD: Tensor, place: slice) -> Tensor:
        return terms(head(hidden_CD).float(), place)

    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    sums = [checkpoint(through_head, hidden_LD[place], place, **options) for place in places]
    return torch.stack(sums).sum(0)


@torch.no_grad()
def label_logprobs(
    hidden_ND: Tensor, head: Any, rows_L: Tensor, ids_L: Tensor, *, vocabulary: int
) -> tuple[Tensor, Tensor]:
    """log π of each label [L], over the first `vocabulary` tokens: what lies behind them is padding; and whether it is
    the likeliest of them [L]."""
    places = _places(len(rows_L), head.weight.shape[0], hidden_ND.device)
    logprobs, are_likeliest = [], []
    for place in places:
        logits_CV = head(hidden_ND[rows_L[place]]).float()[:, :vocabulary]
        logprobs.append(-cross_entropy(logits_CV, ids_L[place], reduction="none"))
        are_likeliest.append(logits_CV.argmax(-1) == ids_L[place])
    return torch.cat(logprobs), torch.cat(are_likeliest)


@torch.no_grad()
def label_divergences(
    hidden_ND: Tensor, head: Any, other_ND: Tensor, other_head: Any, rows_L: Tensor, *, vocabulary: int
) -> Tensor:
    """KL(π ‖ π_other) at each label's place [L], in nats, over the first `vocabulary` tokens."""
    places = _places(len(rows_L), head.weight.shape[0], hidden_ND.device)
    return torch.cat(
        [
            reverse_kl(
                head(hidden_ND[rows_L[place]]).float()[:, :vocabulary],
                other_head(other_ND[rows_L[place]]).float()[:, :vocabulary],
            )
            for place in places
        ]
    )


def _places(num_labels: int, vocabulary: int, device: torch.device) -> list[slice]:
    """The labels of each chunk. On a GPU they depend on its size, never on what is free: the same run on the same card
    adds in the same order."""
    card = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    size = chunk_size(num_labels, vocabulary, card=card)
    return [slice(start, start + size) for start in range(0, num_labels, size)]


def chunk_size(num_labels: int, vocabulary: int, *, card: int | None = None) -> int:
    """Labels of one chunk. `card`: bytes of the GPU's memory; None: a CPU.

    >>> chunk_size(12_000, 151_936), chunk_size(12_000, 151_936, card=80 * 10**9)
    (187, 1028)
    >>> chunk_size(500, 151_936, card=80 * 10**9)
    500
    """
    if card is not None:
        return max(1, min(num_labels, int(card * CARD_SHARE) // (LOGIT_BYTES * vocabulary)))
    least = max(num_labels // CHUNKS, MIN_LOGITS // vocabulary)
    return max(1, min(least, MAX_LOGITS // vocabulary))


class _ChunkedHead(torch.autograd.Function):
    """A linear head and the terms behind it, chunk by chunk, with the gradient taken on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_LD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        terms: Terms,
        places: list[slice],
    ) -> Tensor:
        wanted = ctx.needs_input_grad[:3]
        device = hidden_LD.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_LD.dtype
        head_VD, head_V = weight_VD.to(dtype), None if bias_V is None else bias_V.to(dtype)
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (hidden_LD, weight_VD, bias_V)]
        gradients = [  # summed over chunks in float32
            torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
            if tensor is not None and is_wanted
            else None
            for tensor, is_wanted in zip((hidden_LD, weight_VD, bias_V), wanted, strict=True)
        ]
        sums = []
        with torch.autocast(device, enabled=False):
            for place in places:
                hidden_CD = hidden_LD[place].to(dtype)
                logits_CV = linear(hidden_CD, head_VD, head_V).float().requires_grad_(any(wanted))
                with torch.set_grad_enabled(any(wanted)):
                    loss, *figures = terms(logits_CV, place).unbind()
                sums.append(torch.stack([loss.detach(), *figures]).detach())
                if any(wanted):
                    (gradient_CV,) = torch.autograd.grad(loss, logits_CV)
                    _add_gradients(gradients, place, gradient_CV.to(dtype), hidden_CD, head_VD)
                    del gradient_CV
                del logits_CV, loss  # before the next chunk's are there
        ctx.save_for_backward(*gradients)
        return torch.stack(sums).sum(0)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (
            None if gradient is None else gradient.mul_(outputs[0][0]).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return *scaled, None, None


def _add_gradients(
    gradients: list[Tensor | None], place: slice, gradient_CV: Tensor, hidden_CD: Tensor, head_VD: Tensor
) -> None:
    """Add one chunk to the gradients of hidden states, weight and bias, where they are wanted."""
    of_hidden, of_weight, of_bias = gradients
    if of_hidden is not None:
        of_hidden[place] = gradient_CV @ head_VD
    if of_weight is not None and of_weight.dtype == gradient_CV.dtype:
        of_weight.addmm_(gradient_CV.T, hidden_CD)
    elif of_weight is not None:
        of_weight += gradient_CV.T @ hidden_CD
    if of_bias is not None:
        of_bias += gradient_CV.sum(0)
