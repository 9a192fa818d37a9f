"""Tree training against the same transitions one by one, unpadded: one forward and backward pass of each, in
turn.

    OMP_NUM_THREADS=1 python benchmarks/tree_training.py

The rollout: `--turns` turns, half of them by the student, so that their labels branch off. `share_of_ideal`
is the speed-up over the ratio of tokens; `over_causal` is the time over that of plain causal attention on as
many tokens.
"""

import argparse
import json
import random
import statistics
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.loss import weighted_cross_entropy
from turnmix.training.tree import RenderedTransition, build_tree

VOCABULARY = 1500


def nano_student():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        intermediate_size=384,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


def rollout(num_turns, prompt=300, action=40, observation=70):
    """Exactly every second turn is the student's."""
    generator = random.Random(0)

    def tokens(count):
        return tuple(generator.randrange(VOCABULARY) for _ in range(count))

    history, made = tokens(prompt), []
    for turn in range(num_turns):
        label = tokens(action)
        made.append(RenderedTransition(prompt_ids=history, target_ids=label, group="a"))
        history += (tokens(action) if turn % 2 else label) + tokens(observation)
    return made


def train_tree(model, transitions):
    with tree_attention_in(model):
        batch = batch_trees([build_tree(transitions)])
        hidden = tree_hidden_states(model, batch)
        labels = (batch.label_rows, batch.label_ids, batch.label_weights)
        weighted_cross_entropy(hidden, model.lm_head, *labels).backward()


def train_separately(model, transitions):
    for item in transitions:
        ids = torch.tensor([item.prompt_ids + item.target_ids[:-1]])
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[0, len(item.prompt_ids) - 1 :]
        torch.nn.functional.cross_entropy(
            model.lm_head(hidden), torch.tensor(item.target_ids), reduction="sum"
        ).backward()


def train_causally(model, num_tokens, num_labels):
    ids = torch.arange(num_tokens)[None] % VOCABULARY
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[0, :num_labels]
    torch.nn.functional.cross_entropy(model.lm_head(hidden), ids[0, :num_labels], reduction="sum").backward()


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, transitions = nano_student(), rollout(options.turns)
    tree = build_tree(transitions)
    cases = {
        "one by one": lambda: train_separately(model, transitions),
        "tree": lambda: train_tree(model, transitions),
        "causal, same tokens": lambda: train_causally(model, len(tree), tree.num_labels),
    }
    seconds, gradients = {name: [] for name in cases}, {}
    for _ in range(options.repeats + 1):  # the first round warms up
        for name, train in cases.items():
            model.zero_grad()
            began = time.perf_counter()
            train()
            seconds[name].append(time.perf_counter() - began)
            gradients[name] = gradient(model)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    tokens = {
        "one by one": tree.separate_tokens,
        "tree": len(tree),
        "causal, same tokens": len(tree),
    }
    print(f"{'':22}{'tokens':>8}{'ms':>8}{'tokens/s':>10}")
    for name in cases:
        print(f"{name:22}{tokens[name]:8}{median[name] * 1e3:8.0f}{tokens[name] / median[name]:10.0f}")
    difference = gradients["tree"] - gradients["one by one"]
    speedup = median["one by one"] / median["tree"]
    figures = {
        "turns": options.turns,
        "speedup": round(speedup, 2),
        "token_ratio": round(tree.separate_tokens / len(tree), 2),
        f"share_of_ideal_{options.turns}": round(speedup * len(tree) / tree.separate_tokens, 3),
        f"over_causal_{options.turns}": round(median["tree"] / median["causal, same tokens"], 3),
        "tree_tokens_per_second": round(len(tree) / median["tree"]),
        "gradient_difference": float(f"{difference.norm() / gradients['one by one'].norm():.1e}"),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
