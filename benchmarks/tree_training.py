"""Tree training against three other ways to train on the labels of one rollout, and against what counting
multiply-adds promises.

    OMP_NUM_THREADS=1 python benchmarks/tree_training.py
    python benchmarks/tree_training.py --device cuda

Of each rollout's turns the teacher executes a share beta; on the others its label branches off. A case is one
forward and backward pass of all labels, from messages on: it renders them with a renderer that has rendered nothing
yet, and builds its rows.

one by one          each label with its whole prompt, unpadded
per-branch packing  the executed path once with the labels on it, every other label with its prefix repeated, in
                    passes of one budget: what a packer of linear sequences does
masked row          the executed path as one row with a mask over the teacher's turns, as users of TRL train on
                    several turns. It loses the labels of all turns that the student took, which are those that
                    DAgger asks the teacher for; it is therefore compared by label, not by pass
tree                all labels on one tree
tree, half budget   the same with a budget of half its rows
plain causal        no case: as many tokens as the tree has, as one row, for its kernel

All take turns in one process. On a CPU: one thread, a five-million-parameter Qwen3, float32, CPU seconds of the
process, so that a busy machine disturbs little. On a GPU: Qwen3-0.6B's shape with random weights, bfloat16, seconds
by the clock.

The ideal is counted, not measured: multiply-adds of the layers' matrices for every token computed, of attention
for every pair of tokens that see each other, and of the head for label tokens alone, in all cases alike; a
backward pass is two forward passes. Activations, softmax, rendering, the optimiser and memory count nothing. The share
of the ideal is that of the passes; "tree is x" is of all, rendering and building included.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from synthetic_rollout import Rollout
from synthetic_text import make_renderer, make_tokenizer
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.batching import Cost, model_cost
from turnmix.training.forest import grow_forest
from turnmix.training.learner import ROWS_PER_CPU_PASS
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective import Objective
from turnmix.training.tree import RenderedTransition, TokenTree, build_tree, split_trees

CPU_ROLLOUTS = [
    Rollout(turns=16, beta=0.5),
    Rollout(turns=48, beta=0.3),
]
GPU_ROLLOUTS = [Rollout(turns=32, beta=0.5, prompt=2000, action=120, observation=320)]  # 16,080 tokens


def cpu_model():
    return Qwen3Config(
        vocab_size=1500,
        hidden_size=256,
        num_hidden_layers=6,
        intermediate_size=768,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        tie_word_embeddings=True,
    )


def gpu_model():
    return Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        num_hidden_layers=28,
        intermediate_size=3072,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
    )


def rendered(transitions, renderer):
    """Each label with its prompt, rendered by itself."""
    return [
        RenderedTransition(
            prompt_ids=tuple(renderer.prompt_ids(item.state)),
            target_ids=tuple(renderer.target_ids(item.state, item.target)),
            group=item.trajectory_id,
        )
        for item in transitions
    ]


def grown(transitions, renderer, budget):
    """The trees as the learner grows them."""
    settings = LearnerSettings(tokens_per_pass=budget)
    forest = grow_forest(transitions, renderer, settings, max_context=2**31, needs_reference_logprobs=False)
    assert not forest.untaught
    return forest.trees


def separate_trees(items):
    return [build_tree([item]) for item in items]


def label_places(item):
    """The places of its tokens that predict its labels."""
    return range(len(item.prompt_ids) - 1, item.num_rows)


def on_executed_path(items):
    path = max((item.prompt_ids + item.target_ids for item in items), key=len)
    return [item for item in items if (item.prompt_ids + item.target_ids) == path[: item.num_rows + 1]]


def packed_trees(items):
    """The executed path with the labels on it, and each other label with its whole path."""
    executed = on_executed_path(items)
    kept = {id(item) for item in executed}
    return [build_tree(executed), *separate_trees([item for item in items if id(item) not in kept])]


def masked_row(transitions, renderer, label_rows):
    """The whole conversation, rendered once, with its labels: a template that marks turns says where those are."""
    last = transitions[-1]
    ids = renderer.prompt_ids(last.state) + renderer.target_ids(last.state, last.target)
    return [(ids, label_rows)]


def train_trees(model, trees, budget):
    """In passes of at most `budget` rows."""
    passes, size = [], budget
    for tree in trees:
        if size + len(tree) > budget:
            passes.append([])
            size = 0
        passes[-1].append(tree)
        size += len(tree)
    with tree_attention_in(model):
        for lot in passes:
            batch = batch_trees(lot, model.device)
            Objective().terms(tree_hidden_states(model, batch), model.lm_head, batch)[0].backward()


def train_separately(model, items):
    train_rows(model, [(item.prompt_ids + item.target_ids, label_places(item)) for item in items])


def train_rows(model, rows):
    """Plain causal rows one after another: token ids, and the places that predict a label."""
    for ids, places in rows:
        ids = torch.tensor(ids, device=model.device)
        places = torch.tensor(places, device=model.device)
        hidden = model.model(input_ids=ids[None, :-1], use_cache=False).last_hidden_state[0, places]
        logits = model.lm_head(hidden).float()
        torch.nn.functional.cross_entropy(logits, ids[places + 1], reduction="sum").backward()


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def timed(work, device):
    """What `work` gives, and its seconds."""
    if device == "cpu":
        began = time.process_time()
        return work(), time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    given = work()
    torch.cuda.synchronize()
    return given, time.perf_counter() - began


def multiply_adds(cost: Cost, trees):
    """Forward and backward, of `trees` with all their labels."""
    return 3 * sum(map(cost.of, trees))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to train."""

    prepare: Callable[[Any], Any]
    """From a renderer to what is trained on."""
    train: Callable[[Any], None]
    trees: Sequence[TokenTree] = ()
    """What it computes, to be counted; none: it is no way to train."""
    num_labels: int
    is_slow: bool = False


def cases_of(model, transitions, items, tree, budget):
    alone, packed = separate_trees(items), packed_trees(items)
    assert len(packed[0].runs) == 1, "the executed path is no path"
    half = len(tree) // 2
    taught = [
        place for item in on_executed_path(items) for place in range(len(item.prompt_ids) - 1, item.num_rows)
    ]
    return {
        "one by one": Case(
            prepare=lambda renderer: rendered(transitions, renderer),
            train=lambda items: train_separately(model, items),
            trees=alone,
            num_labels=tree.num_labels,
            is_slow=True,
        ),
        "per-branch packing": Case(
            prepare=lambda renderer: packed_trees(rendered(transitions, renderer)),
            train=lambda trees: train_trees(model, trees, budget),
            trees=packed,
            num_labels=tree.num_labels,
            is_slow=True,
        ),
        "masked row": Case(
            prepare=lambda renderer: masked_row(transitions, renderer, taught),
            train=lambda rows: train_rows(model, rows),
            trees=packed[:1],
            num_labels=len(taught),
        ),
        "tree": Case(
            prepare=lambda renderer: grown(transitions, renderer, len(tree)),
            train=lambda trees: train_trees(model, trees, len(tree)),
            trees=[tree],
            num_labels=tree.num_labels,
        ),
        "tree, half budget": Case(
            prepare=lambda renderer: grown(transitions, renderer, half),
            train=lambda trees: train_trees(model, trees, half),
            trees=split_trees(items, half),
            num_labels=tree.num_labels,
        ),
        "plain causal": Case(
            prepare=lambda _: [(list(range(1, 1001)) * (len(tree) // 1000 + 1), range(tree.num_labels))],
            train=lambda rows: train_rows(model, [(ids[: len(tree) + 1], labels) for ids, labels in rows]),
            num_labels=tree.num_labels,
        ),
    }


def time_all(model, cases, tokenizer, options):
    """Of each case the median seconds to prepare and to train, and its gradient."""
    taken, gradients = {name: [] for name in cases}, {}
    for _ in range(options.repeats):
        for name, case in cases.items():
            for _ in range(1 if case.is_slow else min(3, options.repeats)):
                model.zero_grad()
                renderer = make_renderer(tokenizer)
                prepared, before = timed(lambda case=case, it=renderer: case.prepare(it), options.device)
                _, during = timed(lambda case=case, it=prepared: case.train(it), options.device)
                taken[name].append((before, during))
            gradients[name] = gradient(model)
    if options.device != "cpu":  # the first one compiled
        taken = {name: times[1:] or times for name, times in taken.items()}
    median = {name: [statistics.median(part) for part in zip(*times)] for name, times in taken.items()}
    return median, gradients


def measure(model, rollout, options):
    """Prints the table of one rollout; gives its figures."""
    turns = rollout.turns
    vocabulary = model.config.vocab_size
    tokenizer = make_tokenizer(merged=min(8000, vocabulary - 3), vocabulary=vocabulary)
    transitions = rollout.written(tokenizer)
    items = rendered(transitions, make_renderer(tokenizer))
    tree = build_tree(items)
    cases = cases_of(model, transitions, items, tree, options.rows_per_pass)
    median, gradients = time_all(model, cases, tokenizer, options)
    total = {name: sum(parts) for name, parts in median.items()}

    cost = model_cost(model)
    work = {name: multiply_adds(cost, case.trees) for name, case in cases.items() if case.trees}
    rows = {name: sum(map(len, case.trees)) or len(tree) for name, case in cases.items()}
    print(f"\n{turns} turns, beta {rollout.beta}; times in ms, to render and build and to train")
    print(
        f"{'':20}{'tokens':>9}{'labels':>8}{'render':>8}{'train':>9}{'labels/s':>10}{'ideal x':>9}{'tree is x':>11}"
        f"{'share':>7}"
    )
    for name, case in cases.items():
        before, during = median[name]
        line = f"{name:20}{rows[name]:9,}{case.num_labels:8,}{before * 1e3:8,.0f}{during * 1e3:9,.0f}"
        line += f"{case.num_labels / total[name]:10,.0f}"
        if case.trees:
            ideal, reached = work[name] / work["tree"], during / median["tree"][1]
            line += f"{ideal:9.2f}{total[name] / total['tree']:11.2f}{reached / ideal:7.3f}"
        print(line)
    row = cases["masked row"]
    by_label = total["masked row"] / row.num_labels * tree.num_labels / total["tree"]
    print(
        f"the masked row loses the labels of the student's turns, {tree.num_labels - row.num_labels} of",
        end=" ",
    )
    print(f"{tree.num_labels}; a label takes it {by_label:.2f} times as long as the tree")
    against = "one by one" if options.device == "cpu" else "per-branch packing"
    ideal, reached = work[against] / work["tree"], median[against][1] / median["tree"][1]
    expected = gradients["one by one"]
    difference = max(
        (gradients[name] - expected).norm() / expected.norm() for name in ("tree", "tree, half budget")
    )
    figures = {
        "share_of_ideal": round(reached / ideal, 3),
        "over_causal": round(median["tree"][1] / median["plain causal"][1], 3),
        "speedup": round(total[against] / total["tree"], 2),
        "ideal": round(ideal, 2),
        "over_per_branch": round(total["per-branch packing"] / total["tree"], 2),
        "counted_per_branch": round(work["per-branch packing"] / work["tree"], 2),
        "over_masked_row_by_label": round(by_label, 2),
        "masked_row_labels": round(cases["masked row"].num_labels / tree.num_labels, 3),
        "half_budget_time": round(total["tree, half budget"] / total["tree"], 2),
        "half_budget_rows": round(rows["tree, half budget"] / len(tree), 2),
        "render_share": round(median["tree"][0] / total["tree"], 3),
        "gradient_difference": float(f"{difference:.1e}"),
    }
    return {f"{name}_{turns}": value for name, value in figures.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--turns", type=int, help="only the rollout of so many turns")
    parser.add_argument("--rows-per-pass", type=int, help="of per-branch packing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    is_cpu = options.device == "cpu"
    options.rows_per_pass = options.rows_per_pass or (ROWS_PER_CPU_PASS if is_cpu else 32_768)
    dtype = torch.float32 if is_cpu else torch.bfloat16
    model = Qwen3ForCausalLM(cpu_model() if is_cpu else gpu_model()).to(options.device, dtype).eval()
    cost = model_cost(model)
    name = "CPU, 1 thread" if is_cpu else torch.cuda.get_device_name()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"Qwen3 of {parameters / 1e6:,.1f}M parameters, {dtype}, {name}")
    print("counted multiply-adds of a forward pass (backward: twice as many):")
    print(f"  {cost.per_row:13,.0f} a token, in the layers' matrices")
    print(f"  {cost.per_pair:13,.0f} a pair of tokens that see each other, in attention")
    print(f"  {cost.per_label:13,.0f} a label token, in the head")
    if not is_cpu:
        print(
            "per-branch packing runs on the tree's kernel, one by one and the masked row on the model's own SDPA"
        )
    figures = {"benchmark": "tree_training", "device": name}
    for rollout in CPU_ROLLOUTS if is_cpu else GPU_ROLLOUTS:
        if options.turns in (None, rollout.turns):
            figures |= measure(model, rollout, options)
    if not is_cpu:
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
