"""Trees enter as a plan of blocks; exact tree attention over packed rows leaves.

The trunk of a tree is plain causal attention. What hangs below it is a handful of small masked blocks, each
over a prefix of the trunk and its own rows. So no N×N mask is ever made, and the trunk keeps the fast causal
kernel. Several trees lie one behind the other in one sequence and do not see each other.

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
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from turnmix.training.tree import Run, TokenTree

TREE_ATTENTION = "turnmix_tree"
BLOCK_OVERHEAD = 32_768
"""Query-key pairs that cost about as much as one more call of the attention kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows [start, stop) that attend to rows [prefix, prefix + num_prefix) and, as `mask` says, to
    themselves."""

    start: int
    stop: int
    prefix: int
    num_prefix: int
    mask: Tensor | None
    """Additive, [stop − start, num_prefix + stop − start]; None: causal, without a prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeBatch:
    """Trees laid one behind the other, ready for one forward pass of N rows and L labels."""

    token_ids: Tensor  # [1, N]
    position_ids: Tensor  # [1, N]
    label_rows: Tensor  # [L]
    label_ids: Tensor  # [L]
    label_weights: Tensor  # [L]
    label_counts: Tensor  # [L]
    label_references: Tensor  # [L]
    plan: tuple[Block, ...]


def batch_trees(trees: Sequence[TokenTree], device: torch.device | str = "cpu") -> TreeBatch:
    """One batch of `trees` on `device`."""
    offsets = [0, *accumulate(len(tree) for tree in trees[:-1])]
    plan = [
        block for tree, offset in zip(trees, offsets, strict=True) for block in _blocks(tree, offset, device)
    ]
    rows = [tree.label_rows + offset for tree, offset in zip(trees, offsets, strict=True)]

    def tensor(parts: list[NDArray[Any]], dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.concatenate(parts), dtype=dtype, device=device)

    return TreeBatch(
        token_ids=tensor([tree.token_ids for tree in trees], torch.long)[None],
        position_ids=tensor([tree.position_ids for tree in trees], torch.long)[None],
        label_rows=tensor(rows, torch.long),
        label_ids=tensor([tree.label_ids for tree in trees], torch.long),
        label_weights=tensor([tree.label_weights for tree in trees], torch.float32),
        label_counts=tensor([tree.label_counts for tree in trees], torch.float32),
        label_references=tensor([tree.label_references for tree in trees], torch.float32),
        plan=tuple(plan),
    )


def additive_mask(runs: Sequence[Run], num_prefix: int) -> Tensor:
    """Float mask [Q, num_prefix + Q] of the consecutive `runs`, Q rows in all: 0 where a row's ancestor or
    the row itself stands, −inf elsewhere. A parent in front of the runs is a row of the prefix.

    A bool mask would be silently wrong under `eager` attention.
    """
    first, last = runs[0].start, runs[-1].stop
    visible = np.zeros((last - first, num_prefix + last - first), dtype=bool)
    for run in runs:
        own = slice(run.start - first, run.stop - first)
        if run.parent >= first:
            visible[own] = visible[run.parent - first]
        else:
            visible[own, : run.parent + 1] = True
        columns = slice(own.start + num_prefix, own.stop + num_prefix)
        visible[own, columns] = np.tri(run.stop - run.start, dtype=bool)
    mask = np.where(visible, np.float32(0), np.float32(-np.inf))
    return torch.from_numpy(mask)


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    tree_plan: Sequence[Block],
    **ignored: Any,
) -> tuple[Tensor, None]:
    """The signature of transformers' attention functions: query [1, H, N, D], key and value [1, K, N, D] in,
    [1, N, H, D] out."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    outputs = []
    for block in tree_plan:
        own = slice(block.start, block.stop)
        keys, values = key[:, :, own], value[:, :, own]
        if block.num_prefix:
            seen = slice(block.prefix, block.prefix + block.num_prefix)
            keys = torch.cat([key[:, :, seen], keys], dim=2)
            values = torch.cat([value[:, :, seen], values], dim=2)
        outputs.append(
            scaled_dot_product_attention(
                query[:, :, own],
                keys,
                values,
                attn_mask=None if block.mask is None else block.mask.to(query.dtype),
                is_causal=block.mask is None,
                scale=scaling,
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2), None


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


def _blocks(tree: TokenTree, offset: int, device: torch.device | str) -> list[Block]:
    """The trunk, then the runs below it in lots: a lot grows while the masked-out pairs that it adds cost
    less than another kernel call."""
    trunk = tree.runs[0].stop
    blocks = [Block(start=offset, stop=offset + trunk, prefix=offset, num_prefix=0, mask=None)]
    lot: list[Run] = []
    lot_prefix = 0
    for twig in _twigs(tree.runs[1:], trunk):
        prefix = twig[0].parent + 1
        if lot:
            rows, added = lot[-1].stop - lot[0].start, twig[-1].stop - twig[0].start
            wasted = rows * (prefix - lot_prefix + added) + added * rows
            if wasted > BLOCK_OVERHEAD:
                blocks.append(_masked_block(lot, lot_prefix, offset, device))
                lot = []
        lot = [*lot, *twig]
        lot_prefix = prefix
    if lot:
        blocks.append(_masked_block(lot, lot_prefix, offset, device))
    return blocks


def _twigs(runs: Sequence[Run], trunk: int) -> Iterator[list[Run]]:
    """The runs in blocks that share an attachment to the trunk of `trunk` rows, by growing depth of it."""
    twig: list[Run] = []
    for run in runs:
        if twig and run.parent < trunk and run.parent != twig[0].parent:
            yield twig
            twig = []
        twig.append(run)
    if twig:
        yield twig


def _masked_block(runs: Sequence[Run], num_prefix: int, offset: int, device: torch.device | str) -> Block:
    return Block(
        start=runs[0].start + offset,
        stop=runs[-1].stop + offset,
        prefix=offset,
        num_prefix=num_prefix,
        mask=additive_mask(runs, num_prefix).to(device),
    )
