"""The steps of the record that need no learner: the machine, exactness, the kernel's speed, cases, the loss head."""

import argparse
import math
import os
import platform
import shutil
import subprocess
import time
from importlib import metadata

import gpu_learning
import numpy as np
import torch
import tree_training
from gpu_shapes import (
    compilations,
    matrix_product_rate,
    peak_gigabytes,
    qwen3_4b,
    random_model,
    reset_peak,
    rollout_of,
    rounded,
    seconds,
    small_qwen3,
    synchronized,
    use_kernel,
)
from loss_head import ours, plain
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from turnmix.training import attention_flex
from turnmix.training.attention import batch_trees, tree_attention
from turnmix.training.attention_flex import make_block_mask
from turnmix.training.loss import CARD_SHARE
from turnmix.training.tree import build_tree


def run(name, record, *, is_small, earlier):
    """`earlier`: what the record holds, since a kernel that failed there is not used again."""
    device = "cpu" if is_small else "cuda"
    if is_small:
        torch.set_num_threads(1)
    if any(line.get("kernel") == "plain" for line in earlier):
        use_kernel()
    if not any(line.get("part") == "versions" for line in earlier):
        versions(record, device)
    step = globals().get(name) or getattr(gpu_learning, name)
    step(record, device)


def versions(record, device):
    names = ("torch", "triton", "transformers", "accelerate", "peft", "numpy")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    figures = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        **found,
        "cuda": torch.version.cuda,
        "compilers": [name for name in ("gcc", "g++", "clang", "nvcc") if shutil.which(name)],
        "cores": os.cpu_count(),
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        figures |= {
            "card": card.name,
            "card_gigabytes": round(card.total_memory / 1e9, 1),
            "capability": f"{card.major}.{card.minor}",
            "shared_memory_per_block": card.shared_memory_per_block_optin,
        }
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        figures["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    else:
        figures["card"] = "CPU"
    record(part="versions", **figures)


def machine(record, device):
    rate = matrix_product_rate(device)
    record(part="matrix product", tflops=rounded(rate / 1e12))
    began = time.monotonic()
    found = torch.compile(lambda x: (x.sin() * 2).sum())(torch.ones(4096, device=device))
    record(
        part="compiler",
        passed=bool(torch.isfinite(found)),
        seconds=rounded(time.monotonic() - began),
        decides="triton compiles a kernel",
    )


def oracle_mask(trees):
    """[N, N]: a row sees itself, and what its parent sees."""
    mask = torch.zeros(2 * (sum(map(len, trees)),), dtype=torch.bool)
    offset = 0
    for tree in trees:
        for run_ in tree.runs:
            for row in range(run_.start, run_.stop):
                above = run_.parent if row == run_.start else row - 1
                if above >= 0:
                    mask[offset + row] = mask[offset + above]
                mask[offset + row, offset + row] = True
        offset += len(tree)
    return mask


def in_double(query, key, value, mask, scale):
    group = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(group, 1) for each in (key, value))
    scores = (query @ key.transpose(2, 3) * scale).masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ value


def relative(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


def _exact_case(num_rows, dtype, device, heads):
    """Relative L2 of the output and of the three gradients, ours and SDPA's with a mask, to float64."""
    halves = [
        build_tree(rollout_of(num_rows // 2, turns=6, label=16).transitions(99, seed=num_rows + seed))
        for seed in range(2)
    ]
    batch = batch_trees(halves, device)
    size, padded = sum(map(len, halves)), batch.token_ids.shape[1]
    generator = torch.Generator(device).manual_seed(num_rows)
    num_heads, num_keys, width = heads
    inputs = [
        torch.randn(1, number, padded, width, device=device, generator=generator).to(dtype)
        for number in (num_heads, num_keys, num_keys)
    ]
    direction = torch.randn(1, num_heads, size, width, device=device, generator=generator).to(dtype)
    mask, scale = oracle_mask(halves).to(device), width**-0.5

    def taken(attend, of, direction):
        of = [each.detach().clone().requires_grad_() for each in of]
        out = attend(*of)[:, :, :size]
        return out.detach(), *(each[:, :, :size] for each in torch.autograd.grad(out, of, direction))

    def with_plan(query, key, value):
        found, _ = tree_attention(
            torch.nn.Identity(), query, key, value, None, scaling=scale, tree_plan=batch.plan
        )
        return found.transpose(1, 2)

    began = time.monotonic()
    found = taken(with_plan, inputs, direction)
    synchronized(device)
    first_call = time.monotonic() - began
    cut = [each[:, :, :size] for each in inputs]
    expected = taken(
        lambda q, k, v: in_double(q, k, v, mask, scale),
        [each.double() for each in cut],
        direction.double(),
    )
    dense = taken(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True),
        cut,
        direction,
    )
    names = ("output", "of_query", "of_key", "of_value")
    errors = {
        name: rounded(relative(one, other)) for name, one, other in zip(names, found, expected, strict=True)
    }
    worst_dense = max(relative(one, other) for one, other in zip(dense, expected, strict=True))
    return errors, rounded(worst_dense), first_call, size


def exact(record, device):
    heads, sizes = ((32, 8, 128), (1500, 2900, 2200)) if device == "cuda" else ((4, 2, 16), (300, 600, 400))
    are_right = True
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        before = compilations()
        for place, num_rows in enumerate(sizes):
            part = f"attention, {name}, size {place + 1}"
            try:
                errors, dense, first_call, size = _exact_case(num_rows, dtype, device, heads)
            except Exception:
                record.error(part)
                are_right = False
                continue
            worst, made = max(errors.values()), compilations() - before
            bound = 1e-5 if dtype is torch.float32 else 1e-2
            are_right &= worst <= bound
            record(
                part=part,
                rows=size,
                **errors,
                dense_sdpa=dense,
                compilations=made,
                first_call_seconds=rounded(first_call),
                passed=bool(worst <= bound and made <= 2),
                decides=f"at most {bound:.0e} from float64, at most 2 compilations",
            )
    torch._dynamo.reset()
    if device == "cuda" and not are_right:
        record(part="kernel", kernel="plain", passed=False, error="later steps go on without options")
        use_kernel()
    for dtype in (torch.float32, torch.bfloat16):
        part = f"model, {str(dtype).removeprefix('torch.')}"
        try:
            record(part=part, **_exact_model(dtype, device))
        except Exception:
            record.error(part)


def _exact_model(dtype, device):
    """A model's whole gradient on a tree against its transitions one by one on its own SDPA."""
    config = qwen3_4b(vocab_size=4000, hidden_size=512, num_hidden_layers=4, intermediate_size=1024)
    model = random_model(config if device == "cuda" else small_qwen3(), device, dtype)
    transitions = rollout_of(1200 if device == "cuda" else 200, turns=6, label=16).transitions(400)
    tree = build_tree(transitions)
    tree_training.train_trees(model, [tree], len(tree))
    found = tree_training.gradient(model).double()
    model.zero_grad()
    tree_training.train_separately(model, transitions)
    expected = tree_training.gradient(model).double()
    difference = relative(found, expected)
    bound = 1e-5 if dtype is torch.float32 else 3e-2
    return {
        "rows": len(tree),
        "gradient_difference": rounded(difference),
        "passed": difference <= bound,
        "decides": f"gradient at most {bound:.0e} from one by one",
    }


def speed(record, device):
    """Milliseconds of one layer's attention; TFLOP/s by the pairs that see each other, backward as 2.5 forward."""
    is_gpu = device == "cuda"
    num_heads, num_keys, width = (32, 8, 128) if is_gpu else (4, 2, 16)
    dtype = torch.bfloat16 if is_gpu else torch.float32

    def inputs(num_rows):
        torch.manual_seed(num_rows)
        return [
            torch.randn(1, number, num_rows, width, device=device, dtype=dtype, requires_grad=True)
            for number in (num_heads, num_keys, num_keys)
        ]

    def timed(part, attend, of, pairs):
        direction = torch.randn_like(attend(*of))
        forward = seconds(lambda: attend(*of), device)
        both = seconds(lambda: torch.autograd.grad(attend(*of), of, direction), device)
        work = 4 * pairs * num_heads * width
        record(
            part=part,
            rows=of[0].shape[2],
            pairs=pairs,
            forward_ms=rounded(forward * 1e3),
            forward_backward_ms=rounded(both * 1e3),
            forward_tflops=rounded(work / forward / 1e12),
            forward_backward_tflops=rounded(3.5 * work / both / 1e12),
            compilations=compilations(),
        )
        return both

    def attention_by(plan):
        def attend(query, key, value):
            return tree_attention(torch.nn.Identity(), query, key, value, None, tree_plan=plan)[0]

        return attend

    taken, outputs = {}, {}
    ours = attention_flex.KERNEL_OPTIONS
    kernels = {
        "dynamic": ours,
        "static": {**ours, "dynamic": False},
        "dynamic, no options": {},
        "dynamic, TMA": {**ours, "USE_TMA": True},
    }
    for name, options in kernels.items() if is_gpu else [("pieces", {})]:
        use_kernel(**options)
        dynamic = options.get("dynamic")
        # The first size gets a kernel of its own; the second one the kernel of all that follow.
        sizes = (16_384, 65_536) if dynamic is False else (2048, 16_384, 65_536)
        for num_rows in sizes if is_gpu else (1024,):
            try:
                tree = build_tree(rollout_of(num_rows).transitions(99))
                batch = batch_trees([tree], device)
                pairs = int(tree.position_ids.sum()) + len(tree)
                of = inputs(batch.token_ids.shape[1])
                found = attention_by(batch.plan)(*of).detach()[:, : len(tree)]
                difference = relative(found, outputs.setdefault(num_rows, found).double())
                taken[num_rows, name] = timed(f"tree, {name}", attention_by(batch.plan), of, pairs)
                record(
                    part=f"{name} against the first kernel",
                    rows=num_rows,
                    difference=rounded(difference),
                    passed=difference <= 1e-2,
                    decides="outputs at most 1e-2 apart",
                )
                if name == "dynamic" and num_rows > 2048:
                    plan = make_block_mask(np.full(num_rows, num_rows), device)
                    pairs = num_rows * (num_rows + 1) // 2
                    timed("causal, dynamic", attention_by(plan), inputs(num_rows), pairs)
            except Exception:
                record.error(f"{num_rows} rows, {name}")
    for num_rows in (16_384, 65_536) if is_gpu else (1024,):

        def flash(query, key, value):
            return scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

        try:
            with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
                timed("causal, SDPA flash", flash, inputs(num_rows), num_rows * (num_rows + 1) // 2)
        except Exception:
            record.error(f"{num_rows} rows, SDPA flash")
    for num_rows in (16_384, 65_536):
        if {(num_rows, "dynamic"), (num_rows, "static")} <= set(taken):
            ratio = taken[num_rows, "dynamic"] / taken[num_rows, "static"]
            record(
                part="dynamic over static",
                rows=num_rows,
                ratio=rounded(ratio),
                passed=ratio <= 1.1,
                decides="at most 1.1",
            )


def tree(record, device):
    is_gpu = device == "cuda"
    config = tree_training.gpu_model() if is_gpu else tree_training.cpu_model()
    model = random_model(config, device, torch.bfloat16 if is_gpu else torch.float32)
    rollout = tree_training.GPU_ROLLOUTS[0] if is_gpu else tree_training.Rollout(turns=6, beta=0.5)
    options = argparse.Namespace(device=device, repeats=2 if is_gpu else 1, rows_per_pass=32_768)
    reset_peak(device)
    figures = tree_training.measure(model, rollout, options)
    figures = {name.removesuffix(f"_{rollout.turns}"): value for name, value in figures.items()}
    share = figures["share_of_ideal"]
    record(
        part="cases",
        **figures,
        peak_gigabytes=rounded(peak_gigabytes(device)[0]),
        passed=share >= 0.8,
        decides="share of the ideal at least 0.8",
    )


def head(record, device):
    is_gpu = device == "cuda"
    vocabulary, width, num_labels = (151_936, 2560, 12_000) if is_gpu else (5000, 32, 200)
    matrix = torch.nn.Linear(width, vocabulary, bias=False, device=device)
    hidden = torch.randn(num_labels, width, device=device, requires_grad=True)
    rows = torch.arange(num_labels, device=device)
    ids = torch.randint(vocabulary, (num_labels,), device=device)
    weights = torch.ones(num_labels, device=device)

    def train(loss):
        hidden.grad = matrix.weight.grad = None
        with torch.autocast(device, torch.bfloat16, enabled=is_gpu):
            total = loss(hidden, matrix, rows, ids, weights)
        total.backward()

    found, gradients = {}, {}
    for name, loss in (("ours", ours), ("plain", plain)):
        taken = seconds(lambda loss=loss: train(loss), device)
        gradients[name] = [hidden.grad.clone(), matrix.weight.grad.clone()]
        hidden.grad = matrix.weight.grad = None
        reset_peak(device)
        before = torch.cuda.memory_allocated() if is_gpu else 0
        train(loss)
        peak = torch.cuda.max_memory_allocated() if is_gpu else 0
        found[name] = taken, max(0, peak - before - hidden.nbytes - matrix.weight.nbytes)
    logits = num_labels * vocabulary * 4
    card = torch.cuda.get_device_properties(0).total_memory if is_gpu else math.inf
    # Beside a chunk: the weight in bfloat16, and what a chunk adds to its gradient.
    allowed = card * CARD_SHARE + matrix.weight.nbytes
    time_ratio, memory = found["ours"][0] / found["plain"][0], found["ours"][1] / logits
    record(
        part=f"{num_labels:,} labels",
        ms=rounded(found["ours"][0] * 1e3),
        time_over_plain=rounded(time_ratio),
        extra_over_logits=rounded(memory),
        plain_extra_over_logits=rounded(found["plain"][1] / logits),
        gradient_difference=rounded(
            max(relative(one, other.double()) for one, other in zip(*gradients.values(), strict=True))
        ),
        passed=memory * logits <= allowed and time_ratio <= 1.5,
        decides="extra memory at most 1/16 of the card and the weight, time at most 1.5 of a plain head",
    )
