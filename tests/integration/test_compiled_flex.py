"""FlexAttention's compiled kernel, where it can be compiled for a CPU: unlike the interpreted one it reads the
lists of blocks, and skips what they leave out. And how often a run would compile it."""

import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from tree_oracle import dense_mask
from turnmix.training.attention import batch_trees
from turnmix.training.attention_flex import KERNEL_OPTIONS, with_many_kernels
from turnmix.training.tree import RenderedTransition, build_tree


def rollout(seed, num_turns):
    """Half of the turns by the student."""
    generator = random.Random(seed)

    def tokens(count):
        return tuple(generator.randrange(99) for _ in range(count))

    history, made = tokens(100), []
    for turn in range(num_turns):
        label = tokens(8)
        made.append(RenderedTransition(prompt_ids=history, target_ids=label, group="a"))
        history += (label if turn % 2 else tokens(8)) + tokens(30)
    return made


def heads(num_rows, numbers=(4, 2, 2), width=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, number, num_rows, width, generator=generator).to(dtype) for number in numbers]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler: apt-get install g++")
def test_the_compiled_kernel_gives_the_oracles_output_from_the_lists_of_blocks():
    trees = [build_tree(rollout(0, 12)), build_tree(rollout(1, 7))]
    batch = batch_trees(trees, flex=True)
    plan, size = batch.plan, sum(map(len, trees))
    whole, cut = plan.full_kv_num_blocks.sum(), plan.kv_num_blocks.sum()
    assert whole > 0
    assert whole + cut < plan.kv_num_blocks.numel() * (plan.kv_num_blocks.numel() + 1) / 2  # some are skipped
    inputs = heads(batch.token_ids.shape[1])
    with torch.no_grad():
        kernel = torch.compile(flex_attention, dynamic=False)
        found = kernel(*inputs, block_mask=plan, scale=0.3, enable_gqa=True, kernel_options=KERNEL_OPTIONS)[
            :, :, :size
        ]
        of_trees = [tensor[:, :, :size] for tensor in inputs]
        expected = scaled_dot_product_attention(
            *of_trees, attn_mask=dense_mask(trees), scale=0.3, enable_gqa=True
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_trees_of_other_sizes_and_shapes_compile_nothing_anew():
    """Twice: once for the first size, once for all sizes. Each compilation takes a GPU seconds."""
    counter = CompileCounter()
    kernel = torch.compile(flex_attention, backend=counter, fullgraph=True)
    for seed, num_turns in enumerate((4, 8, 12, 8, 16, 20)):
        batch = batch_trees([build_tree(rollout(seed, num_turns))], flex=True)
        with torch.no_grad():
            kernel(
                *heads(batch.token_ids.shape[1]),
                block_mask=batch.plan,
                scale=0.3,
                enable_gqa=True,
                kernel_options=KERNEL_OPTIONS,
            )
    assert counter.frame_count <= 2


def test_models_of_many_shapes_attend_in_one_process_and_in_any_of_its_threads():
    """Student, base and teacher, each in its types: torch alone gives up at the ninth kernel."""
    counter = CompileCounter()
    kernel = with_many_kernels(torch.compile(flex_attention, backend=counter, fullgraph=True))
    plan = batch_trees([build_tree(rollout(0, 4))], flex=True)
    shapes = [((4, 2, 2), 16), ((8, 2, 2), 32), ((16, 4, 4), 32), ((16, 16, 16), 64), ((6, 2, 2), 128)]

    def attend(numbers, width, dtype):
        inputs = heads(plan.token_ids.shape[1], numbers, width, dtype)
        gqa = numbers[0] != numbers[1]
        with torch.no_grad():
            kernel(*inputs, block_mask=plan.plan, scale=0.3, enable_gqa=gqa, kernel_options=KERNEL_OPTIONS)

    with ThreadPoolExecutor(1) as other:
        for numbers, width in shapes:
            attend(numbers, width, torch.float32)
            other.submit(attend, numbers, width, torch.bfloat16).result()
    assert counter.frame_count > 8
