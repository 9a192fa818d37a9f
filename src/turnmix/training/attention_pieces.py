"""Tree attention on a CPU. In: a plan of pieces, queries, keys and values. Out: what the rows see.

Each piece is one call of the flash kernel. Softmax over several pieces is

    lse = log Σ_p exp(lse_p)        output = Σ_p exp(lse_p − lse) · output_p

and the kernel's own backward pass, given `output` and `lse` of the whole in place of the piece's, gives the
exact gradient of each piece.

Legend: N rows, K key heads, G query heads a key head, D head size, S seen rows of a piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from turnmix.training.pieces import Piece

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend_in_pieces(
    query: Tensor, key: Tensor, value: Tensor, pieces: Sequence[Piece], scaling: float | None
) -> Tensor:
    """Query [1, K·G, N, D], key [1, K, N, D] and value [1, K, N, ≤ D] in, as wide as
    the value out."""
    width = value.shape[-1]
    if width < query.shape[-1]:  # the kernel takes one head size
        value = pad(value, (0, query.shape[-1] - width))
    attended: Tensor = _PieceAttention.apply(query, key, value, pieces, scaling)  # type: ignore[no-untyped-call]
    return attended[..., :width]


class _PieceAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pieces: Sequence[Piece],
        scaling: float | None,
    ) -> Tensor:
        queries_KGND = _grouped(query, key)
        output_KGND = torch.empty_like(queries_KGND)
        lse_KGN = queries_KGND.new_empty(queries_KGND.shape[:-1], dtype=_sum_dtype(query))
        for piece in pieces:
            inputs = _inputs(piece, queries_KGND, key[0], value[0])
            part, part_lse = _forward(
                *inputs, 0.0, piece.is_causal, attn_mask=_in(piece, query), scale=scaling
            )
            part = part.reshape(output_KGND[:, :, piece.rows].shape)
            part_lse = part_lse.reshape(part.shape[:-1])
            output, lse = output_KGND[:, :, piece.rows], lse_KGN[:, :, piece.rows]
            if piece.is_first:
                output.copy_(part)
                lse.copy_(part_lse)
            else:
                summed = torch.logaddexp(lse, part_lse)
                output.mul_((lse - summed).exp()[..., None]).add_(part * (part_lse - summed).exp()[..., None])
                lse.copy_(summed)
        ctx.save_for_backward(query, key, value, output_KGND, lse_KGN)
        ctx.pieces, ctx.scaling = pieces, scaling
        return output_KGND.flatten(0, 1)[None]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output_KGND, lse_KGN = ctx.saved_tensors
        queries_KGND = _grouped(query, key)
        gradient_KGND = _grouped(gradients[0], key)
        if gradient_KGND.stride(-1) != 1:
            gradient_KGND = gradient_KGND.contiguous()
        of_query, of_key, of_value = (
            torch.zeros_like(tensor, dtype=_sum_dtype(query)) for tensor in (queries_KGND, key[0], value[0])
        )
        for piece in ctx.pieces:
            inputs = _inputs(piece, queries_KGND, key[0], value[0])
            shape = inputs[0].shape
            found = _backward(
                gradient_KGND[:, :, piece.rows].reshape(shape),
                *inputs,
                output_KGND[:, :, piece.rows].reshape(shape),
                lse_KGN[:, :, piece.rows].reshape(shape[:-1]),
                0.0,
                piece.is_causal,
                attn_mask=_in(piece, query),
                scale=ctx.scaling,
            )
            of_rows = of_query[:, :, piece.rows]
            of_rows += found[0].reshape(of_rows.shape)
            for whole, part_KGSD in ((of_key, found[1]), (of_value, found[2])):
                at = 0
                for seen in piece.seen:
                    size = seen.stop - seen.start
                    whole[:, seen] += part_KGSD[:, :, at : at + size].sum(1)
                    at += size
        of_inputs = (of_query.flatten(0, 1)[None], of_key[None], of_value[None])
        return *(gradient.to(query.dtype) for gradient in of_inputs), None, None


def _inputs(
    piece: Piece, queries_KGND: Tensor, keys_KND: Tensor, values_KND: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What the kernel reads. Where all rows see the same, the heads of a group are so many more rows; else
    their shared keys are repeated without a copy."""
    groups = queries_KGND.shape[1]
    queries = queries_KGND[:, :, piece.rows]
    parts = [(keys_KND[:, seen], values_KND[:, seen]) for seen in piece.seen]
    keys, values = parts[0] if len(parts) == 1 else (torch.cat(part, dim=1) for part in zip(*parts))
    if piece.mask_QS is None and not piece.is_causal:
        return queries.flatten(1, 2)[:, None], keys[:, None], values[:, None]
    return queries, keys[:, None].expand(-1, groups, -1, -1), values[:, None].expand(-1, groups, -1, -1)


def _in(piece: Piece, like: Tensor) -> Tensor | None:
    return None if piece.mask_QS is None else piece.mask_QS.to(like.dtype)


def _sum_dtype(tensor: Tensor) -> torch.dtype:
    """What is summed over pieces: never less than float32."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """[1, K·G, N, D] -> [K, G, N, D]."""
    num_key_heads = key.shape[1]
    return query.view(num_key_heads, query.shape[1] // num_key_heads, *query.shape[2:])
