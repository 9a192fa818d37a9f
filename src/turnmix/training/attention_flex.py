"""Tree attention on a GPU. In: one number a row. Out: a block mask, for FlexAttention's own compiled kernel.

Row q sees row k where k ≤ q < subtree_ends[k]. Rows are laid out depth first, so a block of rows [q0, q1) and an
earlier one of keys have

    a pair that see each other    where   max of the keys' subtree_ends > q0     (row q0 sees that key)
    no pair that does not         where   min of the keys' subtree_ends ≥ q1

which two numbers a block decide exactly: no N×N mask is made, on the host or on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from turnmix.training.token_paths import Integers

BLOCK = 128
"""Rows of a block; the number of rows is padded to a multiple of it."""
KERNEL_OPTIONS = {"IS_DIVISIBLE": True}
"""What holds of every layout, and a kernel for all sizes cannot know: blocks are whole. Left out, it checks each row
that it reads. (ROWS_GUARANTEED_SAFE does not hold: a row may see nothing of a block that its neighbours see.)"""
MOST_KERNELS = 64
"""Kernels of one process: two for each model's heads, type and whether it learns. A student, its base and a teacher
reach torch's own limit of 8, where it gives up."""


def pad_to_blocks(subtree_ends: Integers) -> Integers:
    """More rows, that see themselves alone. Two blocks at least: for one the kernel would be compiled anew."""
    size = len(subtree_ends)
    padded = max(2 * BLOCK, size + -size % BLOCK)
    return np.concatenate([subtree_ends, np.arange(size, padded) + 1])


def make_block_mask(subtree_ends: Integers, device: torch.device | str) -> BlockMask:
    """The blocks of a padded layout that FlexAttention looks at, and those it need not mask."""
    ends = subtree_ends.reshape(-1, BLOCK)
    starts = np.arange(len(ends)) * BLOCK
    earlier = starts < starts[:, None]  # of keys, in the columns
    is_seen = earlier & (ends.max(1) > starts[:, None])
    is_whole = earlier & (ends.min(1) >= starts[:, None] + BLOCK)
    is_cut = (is_seen & ~is_whole) | np.eye(len(ends), dtype=bool)
    return BlockMask.from_kv_blocks(
        *_block_lists(is_cut, device),
        *_block_lists(is_whole, device),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees(torch.as_tensor(subtree_ends, dtype=torch.int32, device=device)),
    )


def sees(subtree_ends: Tensor) -> Callable[[Any, Any, Any, Any], Any]:
    """FlexAttention's mask function of a layout."""

    def mask(batch: Any, head: Any, row: Any, seen: Any) -> Any:
        return (seen <= row) & (row < subtree_ends[seen])

    return mask


def attend_with_flex(
    query: Tensor, key: Tensor, value: Tensor, block_mask: BlockMask, scaling: float | None
) -> Tensor:
    """Query [1, H, N, D], key and value [1, K, N, D] in, [1, H, N, D] out."""
    # Interpreted, on a CPU, it computes every pair and has no backward pass: for tests.
    kernel: Any = flex_attention if query.device.type == "cpu" else _compiled_kernel()
    attended: Tensor = kernel(
        query,
        key,
        value,
        block_mask=block_mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
        kernel_options=KERNEL_OPTIONS,
    )
    return attended


@cache
def _compiled_kernel() -> Callable[..., Tensor]:
    # As a whole or not at all: what torch falls back to holds N×N scores.
    return with_many_kernels(torch.compile(flex_attention, fullgraph=True))


def with_many_kernels(kernel: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`kernel`, which may be compiled for more kinds of inputs than torch allows by itself."""
    config: Any = torch._dynamo.config

    def call(*arguments: Any, **options: Any) -> Tensor:
        # Each call: a setting of torch's holds in its own thread, and what is computed again runs in another.
        with config.patch(recompile_limit=max(MOST_KERNELS, config.recompile_limit)):
            return kernel(*arguments, **options)

    return call


def _block_lists(is_listed: np.ndarray[Any, Any], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """For each block of rows how many blocks of keys are listed, and which, those first."""
    counts = is_listed.sum(1)
    order = np.argsort(~is_listed, axis=1, kind="stable")
    return tuple(  # type: ignore[return-value]
        torch.as_tensor(array[None, None], dtype=torch.int32, device=device) for array in (counts, order)
    )
