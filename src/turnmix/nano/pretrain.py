"""Make the nano student's base checkpoint from nothing: experience, tokenizer, then two lessons.

    python -m turnmix.nano.pretrain --output DIR

First it learns to copy, on random tokens. Then it learns every token of the experience, the agent's own more than
what it observes, and so the format, the names and what correct code looks like; which action is a good one it sees
only as often as the wanderer happens on it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from turnmix.core.trajectory import Trajectory
from turnmix.nano.experience import collect_experience
from turnmix.nano.model import SPECIAL_TOKENS, make_model, make_tokenizer
from turnmix.nano.phrases import make_phrases

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

OBSERVATION_WEIGHT = 0.3
TOKENIZER_TRAJECTORIES = 600
BATCH_TOKENS = 8000
COPYING_RATE = 2e-3
EXPERIENCE_RATE = 2e-3
WARMUP_STEPS = 40
COPY_LENGTH = 128
COPY_BATCH = 16
PERIODIC_STEPS = 500
FIRST_WORD = len(SPECIAL_TOKENS)


@dataclass(frozen=True, slots=True)
class Example:
    """One trajectory as tokens, and the weight of each as a target."""

    token_ids: list[int]
    weights: list[float]


def read_experience(path: Path) -> list[Trajectory]:
    """The trajectories of a file in the order of their ids, which does not depend on which ended first."""
    with path.open() as file:
        trajectories = [Trajectory.from_json(json.loads(line)) for line in file]
    return sorted(trajectories, key=lambda trajectory: trajectory.id)


def train_tokenizer(trajectories: Sequence[Trajectory]) -> PreTrainedTokenizerFast:
    """A tokenizer for the texts of `trajectories`, with what all their prompts share as phrases."""
    prompts = [trajectory.prompt for trajectory in trajectories]
    users = [prompt[-1].content for prompt in prompts]
    beginning = os.path.commonprefix(users)  # noqa: RUF071 - of texts, not of paths
    ending = os.path.commonprefix([user[::-1] for user in users])[::-1]  # noqa: RUF071
    shared = [prompts[0][0].content, beginning, ending]
    texts = (
        " ".join([message.content, *(json.dumps(call.to_json()["function"]) for call in message.tool_calls)])
        for trajectory in trajectories[:TOKENIZER_TRAJECTORIES]
        for message in trajectory.state(len(trajectory.turns)).messages[1:]
    )
    return make_tokenizer(texts, make_phrases(shared, trajectories[0].tools))


def make_example(tokenizer: PreTrainedTokenizerFast, trajectory: Trajectory) -> Example:
    """Tokens and weights: 1 from after `assistant` to the end of the turn, less elsewhere."""
    state = trajectory.state(len(trajectory.turns))
    token_ids: list[int] = tokenizer.apply_chat_template(
        [message.to_json() for message in state.messages],
        tools=[tool.to_json() for tool in state.tools],
        tokenize=True,
        return_dict=False,
    )
    start = tokenizer("<|im_start|>assistant\n")["input_ids"]
    weights = [OBSERVATION_WEIGHT] * len(token_ids)
    is_action = False
    for position, token in enumerate(token_ids):
        if is_action:
            weights[position] = 1.0
            is_action = token != tokenizer.eos_token_id
        elif token_ids[position + 1 - len(start) : position + 1] == start:
            is_action = True
    return Example(token_ids, weights)


def train(
    model: PreTrainedModel, lessons: Iterable[Sequence[Example]], *, num_tokens: int, rate: float, name: str
) -> None:
    """AdamW with a cosine schedule over about `num_tokens` tokens of batches. Prints its progress."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    seen, started = 0, time.perf_counter()
    for step, batch in enumerate(lessons, start=1):
        progress = min(1.0, seen / num_tokens)
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1.0, step / WARMUP_STEPS) * (0.525 + 0.475 * math.cos(math.pi * progress))
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
            print(f"{name}, step {step}: {seen} tokens, {speed:.0f} a second, loss {loss:.3f}", flush=True)
        if seen >= num_tokens:
            return


def copying_lessons(vocabulary_size: int, seed: int) -> Iterator[list[Example]]:
    """Random phrases that come again: at a fixed distance first, then in any order. Only what can be copied counts."""
    generator = random.Random(seed)
    for step in itertools.count():
        batch = []
        for _ in range(COPY_BATCH):
            num_phrases = 1 if step < PERIODIC_STEPS else generator.randint(3, 13)
            longest = 32 if step < PERIODIC_STEPS else 10
            phrases = [
                [
                    generator.randrange(FIRST_WORD, vocabulary_size)
                    for _ in range(generator.randint(3, longest))
                ]
                for _ in range(num_phrases)
            ]
            batch.append(_recite(phrases, generator))
        yield batch


def _recite(phrases: Sequence[Sequence[int]], generator: random.Random) -> Example:
    token_ids: list[int] = []
    weights: list[float] = []
    told: set[int] = set()
    while len(token_ids) < COPY_LENGTH:
        index = generator.randrange(len(phrases))
        token_ids += phrases[index]
        weights += [0.0, *[1.0 if index in told else 0.0] * (len(phrases[index]) - 1)]
        told.add(index)
    return Example(token_ids[:COPY_LENGTH], weights[:COPY_LENGTH])


def experience_lessons(examples: Sequence[Example], seed: int) -> Iterator[list[Example]]:
    """Epoch after epoch, in batches of about equal lengths, in random order."""
    generator = random.Random(seed)
    while True:
        yield from _epoch(examples, generator)


def _epoch(examples: Sequence[Example], generator: random.Random) -> Iterator[list[Example]]:
    order = list(examples)
    generator.shuffle(order)
    batches: list[list[Example]] = []
    for first in range(0, len(order), 256):
        batch: list[Example] = []
        for example in sorted(order[first : first + 256], key=lambda example: len(example.token_ids)):
            if batch and (len(batch) + 1) * len(example.token_ids) > BATCH_TOKENS:
                batches.append(batch)
                batch = []
            batch.append(example)
        batches.append(batch)
    generator.shuffle(batches)
    yield from batches


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(prog="python -m turnmix.nano.pretrain", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory of the checkpoint")
    parser.add_argument(
        "--experience", type=Path, help="trajectories to use again; made when it does not exist"
    )
    parser.add_argument("--trajectories", type=int, default=2400)
    parser.add_argument(
        "--teacher-share", type=float, default=0.5, help="largest share of the oracle's turns"
    )
    parser.add_argument("--copying-tokens", type=int, default=2_000_000, help="how long to learn copying")
    parser.add_argument("--tokens", type=int, default=5_000_000, help="how long to learn from experience")
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
    lessons = copying_lessons(len(tokenizer), arguments.seed)
    train(model, lessons, num_tokens=arguments.copying_tokens, rate=COPYING_RATE, name="copying")
    examples = [make_example(tokenizer, trajectory) for trajectory in trajectories]
    lessons = experience_lessons(examples, arguments.seed)
    train(model, lessons, num_tokens=arguments.tokens, rate=EXPERIENCE_RATE, name="experience")
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
