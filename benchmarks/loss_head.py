"""The chunked loss head against a plain one on the same label rows: extra memory and time.

    OMP_NUM_THREADS=1 python benchmarks/loss_head.py

Forward and backward pass of a weighted cross-entropy over Qwen3's vocabulary, from hidden states in which one
row in four carries a label. Extra memory is the peak of live tensors above what both heads must hold: what was
there before, and the gradients of hidden states and head. `memory_ratio` is the chunked head's over the size of
the full logits of the label rows, `time_ratio` its time over the plain head's. Both take turns in one process,
one thread, CPU seconds. torch's own chunked head stands beside them where there is one (2.13); it takes no
weight for each label.
"""

import argparse
import gc
import json
import statistics
import time

import torch
from torch.nn.functional import cross_entropy

from turnmix.training.loss import sum_over_labels

VOCABULARY = 151_936


def plain(hidden, head, rows, ids, weights):
    """All logits of the label rows at once."""
    logits = head(hidden.index_select(0, rows)).float()
    return (cross_entropy(logits, ids, reduction="none") * weights).sum()


def torchs_own(hidden, head, rows, ids, weights):
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=64, chunking_method=None)
    return torch.nn.functional.linear_cross_entropy(
        hidden.index_select(0, rows), head.weight, ids, reduction="sum", options=options
    )


def extra_bytes(train, num_needed):
    """The peak of the allocator during `train` above its start and `num_needed` bytes."""
    gc.collect()
    with torch.profiler.profile(profile_memory=True) as profile:
        train()
    totals = []

    def walk(event):
        if event.tag == torch._C._profiler._EventType.Allocation:
            totals.append(
                (event.start_time_ns, event.extra_fields.total_allocated, event.extra_fields.alloc_size)
            )
        for child in event.children:
            walk(child)

    for event in profile.profiler.kineto_results.experimental_event_tree():
        walk(event)
    totals.sort()
    _, first_total, first_size = totals[0]
    return max(total for _, total, _ in totals) - (first_total - first_size) - num_needed


def ours(hidden_ND, head, rows_L, ids_L, weights_L):
    def terms(logits_CV, place):
        losses_C = torch.nn.functional.cross_entropy(logits_CV, ids_L[place], reduction="none")
        return (losses_C * weights_L[place]).sum()[None]

    return sum_over_labels(hidden_ND.index_select(0, rows_L), head, terms)[0]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, default=2048)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    num_labels, size = options.labels, options.hidden_size
    head = torch.nn.Linear(size, VOCABULARY, bias=False)
    hidden = torch.randn(4 * num_labels, size, requires_grad=True)
    labels = (
        torch.randperm(len(hidden))[:num_labels].sort().values,
        torch.randint(VOCABULARY, (num_labels,)),
        torch.ones(num_labels),
    )
    heads = {"plain, label rows only": plain, "turnmix": ours}
    if hasattr(torch.nn.functional, "linear_cross_entropy"):
        heads["torch, 64 rows at once"] = torchs_own

    def train(loss):
        hidden.grad = head.weight.grad = None
        loss(hidden, head, *labels).backward()

    seconds, gradients = {name: [] for name in heads}, {}
    for _ in range(options.repeats + 1):  # the first round warms up
        for name, loss in heads.items():
            began = time.process_time()
            train(loss)
            seconds[name].append(time.process_time() - began)
            gradients[name] = (hidden.grad.clone(), head.weight.grad.clone())
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    wanted = gradients["plain, label rows only"]
    needed = hidden.nbytes + head.weight.nbytes
    extra = {}
    for name, loss in heads.items():
        hidden.grad = head.weight.grad = None  # not while the allocator is watched
        extra[name] = extra_bytes(lambda loss=loss: train(loss), needed)

    full = num_labels * VOCABULARY * 4
    print(
        f"{num_labels:,} labels, hidden size {size}, vocabulary {VOCABULARY:,}: full logits {full / 2**20:,.0f} MiB"
    )
    print(f"{'':26}{'ms':>8}{'x plain':>9}{'extra MiB':>11}{'x logits':>10}{'gradient off by':>17}")
    for name in heads:
        off = max(((g - w).norm() / w.norm()).item() for g, w in zip(gradients[name], wanted, strict=True))
        ratio = median[name] / median["plain, label rows only"]
        print(
            f"{name:26}{median[name] * 1e3:8,.0f}{ratio:9.2f}{extra[name] / 2**20:11,.0f}"
            f"{extra[name] / full:10.3f}{off:17.1e}"
        )
    figures = {
        "benchmark": "loss_head",
        "memory_ratio": round(extra["turnmix"] / full, 4),
        "time_ratio": round(median["turnmix"] / median["plain, label rows only"], 3),
        "labels": num_labels,
        "hidden_size": size,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
