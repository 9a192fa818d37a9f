"""Make the nano student's base checkpoint from nothing: experience, tokenizer, then three lessons.

    python -m turnmix.nano.pretrain --output DIR

First it learns to copy, on random tokens; then to write lines as they should be, on functions that are not what
their docstrings say; then to act, on the experience: every token of it, the agent's own more than what it observes,
and so the format. Which action is a good one it sees only as often as the wanderer happens on it.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from turnmix.core.json_text import json_text, json_value
from turnmix.core.terminal import tell
from turnmix.core.trajectory import Trajectory
from turnmix.nano.experience import collect_experience, experience_source
from turnmix.nano.lessons import (
    Example,
    copying_lessons,
    experience_lessons,
    make_example,
    rewriting_lessons,
)
from turnmix.nano.model import make_model, make_tokenizer
from turnmix.nano.phrases import make_phrases

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TOKENIZER_TRAJECTORIES = 600
LEARNING_RATE = 2e-3
WARMUP_STEPS = 40


def read_experience(path: Path) -> list[Trajectory]:
    """The trajectories of a file in the order of their ids, which does not depend on which ended first."""
    with path.open() as file:
        trajectories = [Trajectory.from_json(json_value(line)) for line in file]
    return sorted(trajectories, key=lambda trajectory: trajectory.id)


def train_tokenizer(trajectories: Sequence[Trajectory]) -> PreTrainedTokenizerFast:
    """A tokenizer for the texts of `trajectories`, with what all their prompts share as phrases."""
    prompts = [trajectory.prompt for trajectory in trajectories]
    users = [prompt[-1].content for prompt in prompts]
    beginning = os.path.commonprefix(users)  # noqa: RUF071 - of texts, not of paths
    ending = os.path.commonprefix([user[::-1] for user in users])[::-1]  # noqa: RUF071
    shared = [prompts[0][0].content, beginning, ending]
    texts = (
        " ".join([message.content, *(json_text(call.to_json()["function"]) for call in message.tool_calls)])
        for trajectory in trajectories[:TOKENIZER_TRAJECTORIES]
        for message in trajectory.state(len(trajectory.turns)).messages[1:]
    )
    return make_tokenizer(texts, make_phrases(shared, trajectories[0].tools))


def train(
    model: PreTrainedModel, lessons: Iterable[Sequence[Example]], *, num_tokens: int, name: str
) -> None:
    """AdamW with a cosine schedule over about `num_tokens` tokens of batches. Prints its progress."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    seen, started = 0, time.perf_counter()
    for step, batch in enumerate(lessons, start=1):
        progress = min(1.0, seen / num_tokens)
        for group in optimizer.param_groups:
            group["lr"] = (
                LEARNING_RATE * min(1.0, step / WARMUP_STEPS) * (0.525 + 0.475 * math.cos(math.pi * progress))
            )
        length = max(len(example.token_ids) for example in batch)
        token_ids = torch.zeros(len(batch), length, dtype=torch.long)
        weights = torch.zeros(len(batch), length)
        for row, example in enumerate(batch):
            token_ids[row, : len(example.token_ids)] = torch.tensor(example.token_ids)
            weights[row, : len(example.weights)] = torch.tensor(example.weights)
        logits = model(input_ids=token_ids).logits[:, :-1].flatten(0, 1)
        losses = torch.nn.functional.cross_entropy(logits, token_ids[:, 1:].flatten(), reduction="none")
        targets = weights[:, 1:].flatten()
        torch.autograd.backward((losses * targets).sum() / targets.sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seen += sum(len(example.token_ids) for example in batch)
        if step % 50 == 0 or seen >= num_tokens:
            loss = float(losses[targets == 1].mean().detach())
            speed = seen / (time.perf_counter() - started)
            tell(f"{name}, step {step}: {seen} tokens, {speed:.0f} a second, loss {loss:.3f}")
        if seen >= num_tokens:
            return


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(prog="python -m turnmix.nano.pretrain", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory of the checkpoint")
    parser.add_argument(
        "--experience", type=Path, help="trajectories to use again; made when it does not exist"
    )
    parser.add_argument("--trajectories", type=int, default=2400)
    parser.add_argument(
        "--teacher-share", type=float, default=0.8, help="largest share of the oracle's turns"
    )
    parser.add_argument("--copying-tokens", type=int, default=1_600_000, help="how long to learn copying")
    parser.add_argument("--rewriting-tokens", type=int, default=3_000_000, help="how long to learn rewriting")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="how long to learn from experience")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    experience = arguments.experience or arguments.output / "experience.jsonl"
    if not experience.exists():
        collect_experience(
            experience,
            num_trajectories=arguments.trajectories,
            teacher_share=arguments.teacher_share,
            seed=arguments.seed,
        )
    trajectories = read_experience(experience)
    tokenizer = train_tokenizer(trajectories)
    model = make_model(tokenizer, seed=arguments.seed)
    copying = copying_lessons(len(tokenizer), arguments.seed)
    train(model, copying, num_tokens=arguments.copying_tokens, name="copying")
    source = experience_source(arguments.trajectories, seed=arguments.seed)
    tasks, tools = source.tasks("train"), trajectories[0].tools
    rewriting = rewriting_lessons(tokenizer, tasks, source.solution, tools, arguments.seed)
    train(model, rewriting, num_tokens=arguments.rewriting_tokens, name="rewriting")
    states = [trajectory.state(len(trajectory.turns)) for trajectory in trajectories]
    examples = [make_example(tokenizer, state.messages, state.tools) for state in states]
    acting = experience_lessons(examples, arguments.seed)
    train(model, acting, num_tokens=arguments.tokens, name="acting")
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
