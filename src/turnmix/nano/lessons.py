"""What the nano student learns before any agent's loop, as batches of examples: to copy, to rewrite, to act.

In: a tokenizer, trajectories, seeds. Out: endless batches of token ids with a weight for each as a target.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.environments.minirepo.injectors import find_bugs
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.workspace import workspace_of
from turnmix.nano.model import SPECIAL_TOKENS
from turnmix.nano.wanderer import rewrite, view
from turnmix.scaffold.prompt import PromptSettings, prompt_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OBSERVATION_WEIGHT = 0.3
BATCH_TOKENS = 8000
COPY_LENGTH = 128
COPY_BATCH = 16
PERIODIC_STEPS = 500
FIRST_WORD = len(SPECIAL_TOKENS)
REWRITE_BATCH = 16
BROKEN_SHARE = 0.7
DONE = "[Current working directory: /testbed]\n[Command finished with exit code 0]"


@dataclass(frozen=True, slots=True)
class Example:
    """One trajectory as tokens, and the weight of each as a target."""

    token_ids: list[int]
    weights: list[float]


def make_example(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message], tools: Sequence[ToolSpecification]
) -> Example:
    """Tokens and weights: 1 from after `assistant` to the end of the turn, less elsewhere."""
    token_ids: list[int] = tokenizer.apply_chat_template(
        [message.to_json() for message in messages],
        tools=[tool.to_json() for tool in tools],
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


def rewriting_lessons(
    tokenizer: PreTrainedTokenizerFast,
    tasks: Sequence[Task],
    solution: Callable[[Task], Solution],
    tools: Sequence[ToolSpecification],
    seed: int,
) -> Iterator[list[Example]]:
    """Functions with a line wrong, and one of their lines written as it should be: no sandbox is needed for these."""
    generator = random.Random(seed)
    while True:
        batch = []
        for _ in range(REWRITE_BATCH):
            task = generator.choice(tasks)
            gold = {**workspace_of(task).files, **solution(task).files}
            messages = [*prompt_for(PromptSettings()).messages(task), *_rewrites(gold, generator)]
            batch.append(make_example(tokenizer, messages, tools))
        yield batch


def _rewrites(gold: Mapping[str, str], generator: random.Random) -> Iterator[Message]:
    modules = [path for path in gold if path not in ("test_repo.py", "run_tests.py")]
    for path in generator.sample(modules, len(modules)):
        functions = gold[path].rstrip("\n").split("\n\n")
        broken = [_broken(function, generator) for function in functions]
        chosen = generator.randrange(len(functions))
        start = sum(len(function.split("\n")) + 1 for function in functions[:chosen]) + 1
        lines = "\n\n".join(text for text, _ in broken).split("\n")
        shown = [(str(number), line) for number, line in enumerate(lines, start=1) if number >= start]
        yield view(path, str(start)).message
        yield Message(
            role="tool",
            tool_call_id="call_0",
            content="\n".join(f"{number:>6}\t{line}" for number, line in shown),
        )
        text, place = broken[chosen]
        function = shown[: len(text.split("\n"))]
        yield rewrite(path, function, gold, generator, place=place, correct_share=1.0).message
        yield Message(role="tool", tool_call_id="call_0", content=DONE)


def _broken(function: str, generator: random.Random) -> tuple[str, int | None]:
    """The function, perhaps with a bug, and the place of the line to rewrite: None leaves it to chance."""
    if generator.random() > BROKEN_SHARE:
        return function, None
    bug = generator.choice(find_bugs(function + "\n"))
    lines = function.split("\n")
    lines[bug.line] = bug.text
    return "\n".join(lines), bug.line if generator.random() < 0.5 else None


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
