"""Tokens a second of the local student, against batched `model.generate` that reads every prompt again.

Both sides generate the turns of one cohort of 32 trajectories, greedily, on one thread, and must say the same. How many
turns a trajectory has, how long its prompts grow and its answers are is drawn from what the demo's last evaluation had
(2,761 turns). The model has the demo student's shape and random weights. They take turns in one process, so that a busy
machine slows both. Rendering, parsing and sandboxes are left out.

    python benchmarks/student_generation.py
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from dataclasses import dataclass, field

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnmix.policies.local.generation import CohortGeneration, TurnRequest
from turnmix.policies.local.sampling import Sampling

VOCABULARY = 1138
TURNS = (6, 6, 6, 6, 6, 6, 6, 10, 10, 10, 10, 10, 14, 14, 14, 14, 27, 30, 30, 30)
FIRST_PROMPT = (30, 30, 30, 32, 32, 33, 34, 34, 35, 35, 36, 38, 39, 39, 41, 43, 43, 47, 51, 53)
OBSERVATION = (11, 11, 11, 11, 11, 11, 15, 20, 20, 22, 23, 25, 25, 25, 27, 30, 39, 48, 78, 107)
ANSWER = (4, 4, 4, 4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 13, 15, 16, 18, 96)
"""Every twentieth of what the demo had, in tokens; of the answers the longest for the last one."""


@dataclass(slots=True)
class Trajectory:
    """What both sides generate: the lengths are given, the tokens are the model's."""

    generator: random.Random
    limits: list[int]
    tokens: list[int]
    spoken: list[tuple[int, ...]] = field(default_factory=list)

    def observe(self, answer: tuple[int, ...]) -> None:
        self.spoken.append(answer)
        self.tokens += [*answer, *some_tokens(self.generator, OBSERVATION)]


def some_tokens(generator: random.Random, lengths: tuple[int, ...]) -> list[int]:
    return [generator.randrange(VOCABULARY) for _ in range(generator.choice(lengths))]


def make_trajectories(number: int) -> dict[int, Trajectory]:
    trajectories = {}
    for key in range(number):
        generator = random.Random(key)
        limits = [generator.choice(ANSWER) for _ in range(generator.choice(TURNS))]
        trajectories[key] = Trajectory(generator, limits, some_tokens(generator, FIRST_PROMPT))
    return trajectories


def going_on(trajectories: dict[int, Trajectory]) -> dict[int, Trajectory]:
    return {key: each for key, each in trajectories.items() if len(each.spoken) < len(each.limits)}


def make_model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=8192,
        initializer_range=0.1,
        attn_implementation="sdpa",
    )
    return Qwen3ForCausalLM(config).eval()


def with_cache(model: Qwen3ForCausalLM, number: int) -> dict[int, Trajectory]:
    """By the local student's generation: keys and values stay from turn to turn."""
    sampling = Sampling(temperature=1, top_p=1, greedy=True, vocabulary=VOCABULARY)
    generation = CohortGeneration(model, sampling=sampling, stop_ids=frozenset())
    trajectories = make_trajectories(number)
    while open_ones := going_on(trajectories):
        requests = {
            key: TurnRequest(prompt=each.tokens, uniforms=torch.zeros(each.limits[len(each.spoken)]))
            for key, each in open_ones.items()
        }
        for key, sampled in generation.generate(requests).items():
            trajectories[key].observe(sampled.token_ids)
        for key in open_ones.keys() - going_on(trajectories).keys():
            generation.leave(key)
    return trajectories


@torch.inference_mode()
def with_generate(model: Qwen3ForCausalLM, number: int) -> dict[int, Trajectory]:
    """By one left-padded `generate` a turn over the whole prompts, each answer cut at its length."""
    trajectories = make_trajectories(number)
    while open_ones := going_on(trajectories):
        width = max(len(each.tokens) for each in open_ones.values())
        pads = [width - len(each.tokens) for each in open_ones.values()]
        limits = [each.limits[len(each.spoken)] for each in open_ones.values()]
        prompts = [[0] * pad + each.tokens for pad, each in zip(pads, open_ones.values(), strict=True)]
        answers = model.generate(
            torch.tensor(prompts),
            attention_mask=torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads]),
            do_sample=False,
            max_new_tokens=max(limits),
            eos_token_id=VOCABULARY,
            pad_token_id=0,
        )[:, width:].tolist()
        for each, answer, limit in zip(open_ones.values(), answers, limits, strict=True):
            each.observe(tuple(answer[:limit]))
    return trajectories


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repetitions", type=int, default=3)
    arguments.add_argument("--trajectories", type=int, default=32, help="that generate together")
    options = arguments.parse_args()
    torch.set_num_threads(1)

    model = make_model()
    seconds: dict[str, list[float]] = {"cached": [], "generate": []}
    for repetition in range(options.repetitions + 1):
        start = time.perf_counter()
        cached = with_cache(model, options.trajectories)
        middle = time.perf_counter()
        generated = with_generate(model, options.trajectories)
        end = time.perf_counter()
        same = all(cached[key].spoken == generated[key].spoken for key in cached)
        assert same, "both sides must say the same"
        if repetition > 0:  # the first one warms up
            seconds["cached"].append(middle - start)
            seconds["generate"].append(end - middle)

    turns = sum(len(each.spoken) for each in cached.values())
    tokens = sum(map(sum, (each.limits for each in cached.values())))
    print(f"{options.trajectories} trajectories, {turns} turns, {tokens} tokens sampled, same on both sides")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"model of {parameters / 1e6:.1f}M parameters, 1 thread, median of {options.repetitions} repetitions\n"
    )
    print(f"{'':28}{'seconds':>9}{'tokens/s':>10}{'turns/s':>9}")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, label in (("cached", "turnmix, cache kept"), ("generate", "generate, prompt read again")):
        print(f"{label:28}{medians[name]:9.2f}{tokens / medians[name]:10.0f}{turns / medians[name]:9.1f}")
    speedup = statistics.median(g / c for g, c in zip(seconds["generate"], seconds["cached"], strict=True))
    print(f"\nspeed-up {speedup:.2f}x")
    figures = {
        "benchmark": "student_generation",
        "speedup": round(speedup, 3),
        "cached_seconds": round(medians["cached"], 3),
        "generate_seconds": round(medians["generate"], 3),
        "tokens": tokens,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
