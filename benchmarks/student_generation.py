"""Trajectories an hour of the local student, against batched `model.generate` that reads every prompt again.

Both sides roll out the same 8 trajectories of 8 turns with the same canned observations, greedily, on one
thread, and must say the same. They take turns in one process, so that a busy machine slows both.

    python benchmarks/student_generation.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.nano.model import make_tokenizer
from turnmix.policies.local import LocalPolicy
from turnmix.policies.local_settings import StudentSettings
from turnmix.policies.policy import Episode
from turnmix.rendering.renderer import Renderer

NUM_TRAJECTORIES, NUM_TURNS = 8, 8
TASK = Task(id="task", problem_statement="", working_directory="/", files={})
BASH = ToolSpecification(
    name="execute_bash",
    description="Run a command.",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)
WORDS = ("the", "function", "returns", "a", "wrong", "value", "when", "list", "is", "empty", "test", "failed")


def words(generator: random.Random, count: int) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(count))


def first_state(number: int) -> State:
    generator = random.Random(number)
    issue = Message(role="user", content=words(generator, generator.randint(60, 120)))
    system = Message(role="system", content=words(random.Random(-1), 100))
    return State(messages=(system, issue), tools=(BASH,))


def next_state(state: State, action: Action, number: int) -> State:
    generator = random.Random(number * 1000 + len(state.messages))
    observation = Message(role="user", content=words(generator, generator.randint(10, 60)))
    return State(messages=(*state.messages, action.message, observation), tools=state.tools)


def make_student(texts: list[str]) -> tuple[Qwen3ForCausalLM, Renderer]:
    """A Qwen3 of about five million parameters with random weights, and its renderer."""
    tokenizer = make_tokenizer(texts, ())
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=8192,
        initializer_range=0.1,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    return Qwen3ForCausalLM(config).eval(), Renderer(tokenizer)


def with_cache(policy: LocalPolicy, cohort: str) -> list[list[tuple[int, ...]]]:
    """Every trajectory's sampled tokens, turn by turn, by the local policy."""

    async def trajectory(number: int) -> list[tuple[int, ...]]:
        session, state, spoken = sessions[number], first_state(number), []
        for _ in range(NUM_TURNS):
            action = await session.act(state)
            spoken.append(action.token_ids)
            state = next_state(state, action, number)
        await session.close()
        return spoken

    async def all_trajectories() -> list[list[tuple[int, ...]]]:
        return await asyncio.gather(*(trajectory(number) for number in range(NUM_TRAJECTORIES)))

    sessions = [
        policy.begin(Episode(trajectory_id=f"t{number}", task=TASK, seed=number, cohort=cohort))
        for number in range(NUM_TRAJECTORIES)
    ]
    return asyncio.run(all_trajectories())


@torch.inference_mode()
def with_generate(model: Qwen3ForCausalLM, renderer: Renderer, limit: int) -> list[list[tuple[int, ...]]]:
    """The same by one left-padded `generate` a turn over the whole prompts."""
    states = [first_state(number) for number in range(NUM_TRAJECTORIES)]
    spoken: list[list[tuple[int, ...]]] = [[] for _ in states]
    for _ in range(NUM_TURNS):
        prompts = [renderer.prompt_ids(state) for state in states]
        width = max(map(len, prompts))
        padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        answers = model.generate(
            padded,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=sorted(renderer.stop_ids),
            pad_token_id=0,
        )[:, width:].tolist()
        for number, answer in enumerate(answers):
            ends = [position for position, token in enumerate(answer) if token in renderer.stop_ids]
            tokens = tuple(answer[: ends[0] + 1] if ends else answer)
            spoken[number].append(tokens)
            states[number] = next_state(states[number], renderer.parse(tokens, (BASH,)), number)
    return spoken


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repetitions", type=int, default=3)
    arguments.add_argument("--new-tokens", type=int, default=32, help="limit of one turn")
    options = arguments.parse_args()
    torch.set_num_threads(1)

    texts = [message.content for number in range(50) for message in first_state(number).messages]
    model, renderer = make_student(texts)
    settings = StudentSettings(max_new_tokens=options.new_tokens)
    policy = LocalPolicy(model, renderer, settings, greedy=True)
    seconds: dict[str, list[float]] = {"cached": [], "generate": []}
    for repetition in range(options.repetitions + 1):
        start = time.perf_counter()
        cached = with_cache(policy, f"cohort {repetition}")
        middle = time.perf_counter()
        generated = with_generate(model, renderer, options.new_tokens)
        end = time.perf_counter()
        assert cached == generated, "both sides must say the same"
        if repetition > 0:  # the first one warms up
            seconds["cached"].append(middle - start)
            seconds["generate"].append(end - middle)
    asyncio.run(policy.close())

    tokens = sum(len(turn) for trajectory in cached for turn in trajectory)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{NUM_TRAJECTORIES} trajectories of {NUM_TURNS} turns, {tokens} tokens sampled, same on both sides"
    )
    print(
        f"model of {parameters / 1e6:.1f}M parameters, 1 thread, median of {options.repetitions} repetitions\n"
    )
    print(f"{'':28}{'seconds':>9}{'tokens/s':>10}{'trajectories/hour':>19}")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, label in (("cached", "turnmix, cache kept"), ("generate", "generate, prompt read again")):
        rate = NUM_TRAJECTORIES * 3600 / medians[name]
        print(f"{label:28}{medians[name]:9.2f}{tokens / medians[name]:10.0f}{rate:19.0f}")
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
