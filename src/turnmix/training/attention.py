"""In: trees, as one batch. Out: exact attention along their paths, in whatever transformers model.

Several trees lie one behind the other in one sequence and do not see each other. How rows see their ancestors
is planned once a batch, for the device: kernel calls on a CPU, FlexAttention's block mask elsewhere.

Transformers calls `tree_attention` by the name in `TREE_ATTENTION`. That name is registered for attention but
not for masks, so the library builds no mask of its own; the plan arrives as the keyword argument `tree_plan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface

from turnmix.core.errors import UserError
from turnmix.training.attention_flex import attend_with_flex, make_block_mask, pad_to_blocks
from turnmix.training.attention_pieces import attend_in_pieces
from turnmix.training.pieces import Piece, plan_pieces
from turnmix.training.tree import TokenTree

TREE_ATTENTION = "turnmix_tree"
UNHANDLED = {
    "sliding_window": "a sliding window",
    "softcap": "capped scores",
    "s_aux": "sinks",
    "position_bias": "a position bias",
    "alibi": "a position bias",
}
"""What a model may ask of attention that is not done here."""

Plan = tuple[Piece, ...] | BlockMask


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeBatch:
    """Trees laid one behind the other, ready for one forward pass of N rows and L labels."""

    token_ids: Tensor  # [1, N]; with FlexAttention rows of padding come last
    position_ids: Tensor  # [1, N]
    label_rows: Tensor  # [L]
    label_ids: Tensor  # [L]
    label_weights: Tensor  # [L]
    label_shares: Tensor  # [L]
    label_reference_logprobs: Tensor  # [L]
    label_sampled: Tensor  # [L]
    plan: Plan


def batch_trees(
    trees: Sequence[TokenTree], device: torch.device | str = "cpu", *, flex: bool | None = None
) -> TreeBatch:
    """One batch of `trees` on `device`. `flex`: plan for FlexAttention; left out, where that is not a CPU."""
    offsets = [0, *accumulate(len(tree) for tree in trees[:-1])]

    def joined(name: str, *, is_row: bool = False) -> NDArray[Any]:
        parts = [getattr(tree, name) for tree in trees]
        return np.concatenate([part + offset * is_row for part, offset in zip(parts, offsets, strict=True)])

    def tensor(values: NDArray[Any], dtype: torch.dtype = torch.long) -> Tensor:
        return torch.as_tensor(values, dtype=dtype, device=device)

    ends = joined("subtree_ends", is_row=True)
    num_padding = 0
    plan: Plan
    if torch.device(device).type != "cpu" if flex is None else flex:
        padded = pad_to_blocks(ends)
        num_padding = len(padded) - len(ends)
        plan = make_block_mask(padded, device)
    else:
        starts = [
            run.start + offset for tree, offset in zip(trees, offsets, strict=True) for run in tree.runs
        ]
        plan = plan_pieces(ends, starts)
    return TreeBatch(
        token_ids=tensor(np.pad(joined("token_ids"), (0, num_padding)))[None],
        position_ids=tensor(np.pad(joined("position_ids"), (0, num_padding)))[None],
        label_rows=tensor(joined("label_rows", is_row=True)),
        label_ids=tensor(joined("label_ids")),
        label_weights=tensor(joined("label_weights"), torch.float32),
        label_shares=tensor(joined("label_shares"), torch.float32),
        label_reference_logprobs=tensor(joined("label_reference_logprobs"), torch.float32),
        label_sampled=tensor(joined("label_sampled"), torch.float32),
        plan=plan,
    )


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    tree_plan: Plan,
    **options: Any,
) -> tuple[Tensor, None]:
    """The signature of transformers' attention functions: query [1, H, N, D], key and value [1, K, N, D] in,
    [1, N, H, D] out."""
    if wanted := [words for name, words in UNHANDLED.items() if options.get(name) is not None]:
        raise UserError(f"{type(module).__name__} asks for {', '.join(wanted)}: not done on token trees")
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast norms leave float32
    if isinstance(tree_plan, BlockMask):
        attended = attend_with_flex(query, key, value, tree_plan, scaling)
    else:
        attended = attend_in_pieces(query, key, value, tree_plan, scaling)
    return attended.transpose(1, 2), None


AttentionInterface.register(TREE_ATTENTION, tree_attention)


@contextmanager
def tree_attention_in(model: Any) -> Iterator[None]:
    """Lets `model` attend along trees inside the block, and as before after it."""
    before = model.config._attn_implementation
    model.set_attn_implementation(TREE_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def tree_hidden_states(model: Any, batch: TreeBatch) -> Tensor:
    """The last hidden states [N, D] of `batch`, inside `tree_attention_in(model)`."""
    output = model.base_model(
        input_ids=batch.token_ids, position_ids=batch.position_ids, use_cache=False, tree_plan=batch.plan
    )
    hidden_ND: Tensor = output.last_hidden_state[0]
    return hidden_ND
