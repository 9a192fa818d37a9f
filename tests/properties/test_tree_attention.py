"""Attention along trees, by kernel calls and by FlexAttention, against one dense mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from tree_oracle import dense_mask, transitions
from turnmix.training.attention import batch_trees
from turnmix.training.attention_flex import attend_with_flex
from turnmix.training.attention_pieces import attend_in_pieces
from turnmix.training.tree import build_tree, split_trees

SCALING = 0.3
ITEMS = transitions(max_count=10, max_tokens=30)
SPLITS = st.builds(split_trees, ITEMS, st.integers(1, 150))
"""At budgets below, at and above the longest path."""
FORESTS = st.one_of(st.lists(ITEMS.map(build_tree), min_size=1, max_size=3), SPLITS)


def heads(num_rows, dtype, seed):
    """Queries of four heads, keys and values of two, and a gradient of the output."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value, of_output = (
        torch.randn(1, num_heads, num_rows, 16, generator=generator, dtype=dtype)
        for num_heads in (4, 2, 2, 4)
    )
    return [tensor.requires_grad_() for tensor in (query, key, value)], of_output


def attended(attend, inputs, of_output):
    """What `attend` gives, and the gradients of its inputs."""
    output = attend(*inputs)
    return output, *torch.autograd.grad(output, inputs, of_output)


def by_the_oracle(trees, inputs):
    return scaled_dot_product_attention(*inputs, attn_mask=dense_mask(trees), scale=SCALING, enable_gqa=True)


@settings(deadline=None, max_examples=40)
@given(trees=FORESTS, call_cost=st.sampled_from([0, 10, 100, 4096]), seed=st.integers(0, 100))
def test_pieces_give_the_oracles_output_and_gradients(trees, call_cost, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turnmix.training.pieces.CALL_COST", call_cost)
        plan = batch_trees(trees).plan
    inputs, of_output = heads(sum(map(len, trees)), torch.float64, seed)
    expected = attended(lambda *these: by_the_oracle(trees, these), inputs, of_output)
    found = attended(lambda *these: attend_in_pieces(*these, plan, SCALING), inputs, of_output)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(trees=FORESTS, call_cost=st.sampled_from([0, 10, 100, 4096]))
def test_pieces_hold_each_pair_that_the_oracle_sees_once_and_no_other(trees, call_cost):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turnmix.training.pieces.CALL_COST", call_cost)
        plan = batch_trees(trees).plan
    held = torch.zeros(2 * (sum(map(len, trees)),), dtype=torch.int)
    for piece in plan:
        rows = torch.arange(piece.rows.start, piece.rows.stop)
        seen = torch.cat([torch.arange(part.start, part.stop) for part in piece.seen])
        here = torch.ones(len(rows), len(seen), dtype=torch.int)
        if piece.is_causal:
            here = here.tril()
        elif piece.mask_QS is not None:
            here = (piece.mask_QS == 0).int()
        held[rows[:, None], seen] += here
    assert torch.equal(held, dense_mask(trees).int())


def block_kinds(block_mask):
    """For each pair of blocks: is it computed, and is it computed without the mask?"""
    size = block_mask.kv_indices.shape[-1]
    kinds = []
    for counts, listed in (
        (block_mask.kv_num_blocks, block_mask.kv_indices),
        (block_mask.full_kv_num_blocks, block_mask.full_kv_indices),
    ):
        kind = torch.zeros(size, size, dtype=torch.bool)
        for block in range(size):
            kind[block, listed[0, 0, block, : counts[0, 0, block]].long()] = True
        kinds.append(kind)
    cut, whole = kinds
    assert not (cut & whole).any()
    return cut | whole, whole


@settings(deadline=None, max_examples=40)
@given(trees=FORESTS, block=st.sampled_from([2, 4, 16, 128]))
def test_flex_masks_what_the_oracle_does_and_skips_no_block_with_a_visible_pair(trees, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turnmix.training.attention_flex.BLOCK", block)
        batch = batch_trees(trees, flex=True)
    size, padded = sum(map(len, trees)), batch.token_ids.shape[1]
    assert padded % block == 0
    assert padded - size < 2 * block
    rows = torch.arange(padded)
    mask = batch.plan.mask_mod(0, 0, rows[:, None], rows[None])
    assert torch.equal(mask[:size, :size], dense_mask(trees))
    assert torch.equal(mask[size:], torch.eye(padded, dtype=torch.bool)[size:])  # padding sees itself alone

    blocks = mask.view(padded // block, block, padded // block, block)
    computed, whole = block_kinds(batch.plan)
    assert torch.equal(computed, blocks.any(3).any(1))
    earlier = torch.ones_like(whole).tril(-1)  # FlexAttention's own causal blocks are cut on the diagonal too
    assert torch.equal(whole, blocks.all(3).all(1) & earlier)


@settings(deadline=None, max_examples=20)
@given(trees=FORESTS, seed=st.integers(0, 100))
def test_flex_gives_the_oracles_output_in_float32(trees, seed):
    batch = batch_trees(trees, flex=True)
    size, padded = sum(map(len, trees)), batch.token_ids.shape[1]
    inputs = [tensor.detach() for tensor in heads(padded, torch.float32, seed)[0]]
    found = attend_with_flex(*inputs, batch.plan, SCALING)[:, :, :size]
    expected = by_the_oracle(trees, [tensor[:, :, :size] for tensor in inputs])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
