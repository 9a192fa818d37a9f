"""How a nano student learns its lessons: a tokenizer for what it reads, and a model trained on batches of examples.

In: trajectories, and endless lessons. Out: a tokenizer, and a model that has learned them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from turnmix.core.json_text import json_text, json_value
from turnmix.core.message import ToolSpecification
from turnmix.core.terminal import tell
from turnmix.core.trajectory import Trajectory
from turnmix.nano.lessons import Example
from turnmix.nano.model import SPLIT, make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TOKENIZER_TRAJECTORIES = 600
LEARNING_RATE = 2e-3
WARMUP_STEPS = 40
MakePhrases = Callable[[Sequence[str], Sequence[ToolSpecification]], list[str]]
"""What all prompts share, and tools -> texts that are one token each."""


def read_experience(path: Path) -> list[Trajectory]:
    """The trajectories of a file in the order of their ids, which does not depend on which ended first."""
    with path.open() as file:
        trajectories = [Trajectory.from_json(json_value(line)) for line in file]
    return sorted(trajectories, key=lambda trajectory: trajectory.id)


def train_tokenizer(
    trajectories: Sequence[Trajectory], *, phrases: MakePhrases, split: str = SPLIT
) -> PreTrainedTokenizerFast:
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
    return make_tokenizer(texts, phrases(shared, trajectories[0].tools), split=split)


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
