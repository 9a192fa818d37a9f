"""Tree training against the same transitions one by one, unpadded, and against the speed-up that counting
multiply-adds promises.

    OMP_NUM_THREADS=1 python benchmarks/tree_training.py
    python benchmarks/tree_training.py --device cuda

Of each rollout's turns the teacher executes a share beta; on the others its label branches off. A case is one
forward and backward pass of all labels. All cases take turns in one process. On a CPU: one thread, a
five-million-parameter Qwen3, float32, CPU seconds of the process, so that a busy machine disturbs little. On a
GPU: Qwen3-0.6B's shape with random weights, bfloat16, seconds by the clock, and one more case, what a packer of
linear sequences does: the executed path once and every branch with its prefix repeated, in passes of one budget.

The ideal is counted, not measured: multiply-adds of the layers' matrices for every token computed, of attention
for every pair of tokens that see each other, and of the head for label tokens alone, in all cases alike; a
backward pass is two forward passes. Activations, softmax, the optimiser and memory count nothing.
"""

import argparse
import json
import random
import statistics
import time
from dataclasses import dataclass

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.batching import Cost, model_cost
from turnmix.training.objective import Objective
from turnmix.training.tree import RenderedTransition, build_tree


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Token counts: a coding agent's prompt (system, tools, issue), its actions and what they show; on a CPU a
    tenth of that."""

    turns: int
    beta: float
    prompt: int = 200
    action: int = 12
    observation: int = 32

    def transitions(self, vocabulary, seed=0):
        """Student turns are spread evenly, as many as beta says."""
        generator = random.Random(seed)

        def tokens(count):
            return tuple(generator.randrange(vocabulary) for _ in range(count))

        history, made = tokens(self.prompt), []
        for turn in range(self.turns):
            label = tokens(self.action)
            made.append(RenderedTransition(prompt_ids=history, target_ids=label, group="a"))
            is_teachers = int((turn + 1) * self.beta) > int(turn * self.beta)
            history += (label if is_teachers else tokens(self.action)) + tokens(self.observation)
        return made


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


def separate_trees(transitions):
    return [build_tree([item]) for item in transitions]


def packed_trees(transitions):
    """The executed path with the labels on it, and each other label with its whole path."""
    path = max((item.prompt_ids + item.target_ids for item in transitions), key=len)
    executed = [
        item for item in transitions if (item.prompt_ids + item.target_ids) == path[: item.num_rows + 1]
    ]
    others = [item for item in transitions if item not in executed]
    return [build_tree(executed), *separate_trees(others)]


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


def train_separately(model, transitions):
    for item in transitions:
        ids = torch.tensor([item.prompt_ids + item.target_ids[:-1]], device=model.device)
        labels = torch.tensor(item.target_ids, device=model.device)
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[0, len(item.prompt_ids) - 1 :]
        logits = model.lm_head(hidden).float()
        torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()


def train_causally(model, num_rows, num_labels):
    """Plain causal attention on as many tokens, with as many labels."""
    ids = torch.arange(num_rows, device=model.device)[None] % model.config.vocab_size
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[0, :num_labels]
    logits = model.lm_head(hidden).float()
    torch.nn.functional.cross_entropy(logits, ids[0, :num_labels], reduction="sum").backward()


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def seconds(train, device):
    if device == "cpu":
        began = time.process_time()
        train()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    train()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def multiply_adds(cost: Cost, trees):
    """Forward and backward, of `trees` with all their labels."""
    return 3 * sum(map(cost.of, trees))


def measure(model, rollout, options):
    """Prints the table of one rollout; gives its figures."""
    device, turns = options.device, rollout.turns
    transitions = rollout.transitions(model.config.vocab_size)
    tree = build_tree(transitions)
    alone, packed = separate_trees(transitions), packed_trees(transitions)
    assert len(packed[0].runs) == 1, "the executed path is no path"
    cases = {
        "one by one": (alone, lambda: train_separately(model, transitions)),
        "tree": ([tree], lambda: train_trees(model, [tree], len(tree))),
        "plain causal": ([], lambda: train_causally(model, len(tree), len(tree.label_rows))),
    }
    if device != "cpu":
        cases["per-branch packing"] = (packed, lambda: train_trees(model, packed, options.rows_per_pass))
    taken, gradients = {name: [] for name in cases}, {}
    for _ in range(options.repeats):
        for name, (_, train) in cases.items():
            for _ in range(1 if name == "one by one" else 3):
                model.zero_grad()
                taken[name].append(seconds(train, device))
            gradients[name] = gradient(model)
    if device != "cpu":  # the first one compiled
        taken = {name: times[1:] or times for name, times in taken.items()}
    median = {name: statistics.median(times) for name, times in taken.items()}

    cost = model_cost(model)
    work = {name: multiply_adds(cost, trees) for name, (trees, _) in cases.items() if trees}
    print(
        f"\n{turns} turns, beta {rollout.beta}: {len(tree):,} tokens in the tree, {tree.num_labels:,} labels"
    )
    print(f"{'':20}{'tokens':>9}{'ms':>9}{'tokens/s':>10}{'ideal x':>9}{'tree is x':>11}{'share':>7}")
    for name, (trees, _) in cases.items():
        rows = sum(map(len, trees)) or len(tree)
        line = f"{name:20}{rows:9,}{median[name] * 1e3:9,.0f}{rows / median[name]:10,.0f}"
        if trees:
            ideal, speedup = work[name] / work["tree"], median[name] / median["tree"]
            line += f"{ideal:9.2f}{speedup:11.2f}{speedup / ideal:7.3f}"
        print(line)
    difference = gradients["tree"] - gradients["one by one"]
    against = "one by one" if device == "cpu" else "per-branch packing"
    ideal, speedup = work[against] / work["tree"], median[against] / median["tree"]
    return {
        f"share_of_ideal_{turns}": round(speedup / ideal, 3),
        f"over_causal_{turns}": round(median["tree"] / median["plain causal"], 3),
        f"speedup_{turns}": round(speedup, 2),
        f"ideal_{turns}": round(ideal, 2),
        f"gradient_difference_{turns}": float(f"{difference.norm() / gradients['one by one'].norm():.1e}"),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--turns", type=int, help="only the rollout of so many turns")
    parser.add_argument("--rows-per-pass", type=int, default=32_768, help="of per-branch packing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    is_cpu = options.device == "cpu"
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
        print("per-branch packing runs on the same kernel as the tree; one by one on the model's own SDPA")
    figures = {"benchmark": "tree_training", "device": name}
    for rollout in CPU_ROLLOUTS if is_cpu else GPU_ROLLOUTS:
        if options.turns in (None, rollout.turns):
            figures |= measure(model, rollout, options)
    if not is_cpu:
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
