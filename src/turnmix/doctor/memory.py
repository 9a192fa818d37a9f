"""How much memory learning takes on each rank's card, estimated from a model's size.

Full training holds weights, gradients and AdamW's two moments in float32: 16 bytes a parameter, split over the ranks.
With LoRA it holds the weights, 4 bytes each, and 16 for each parameter of the small matrices. Of several ranks the
first one holds the whole student beside its part, unless a server acts for it. A pass keeps, with recomputation, what
enters each layer, and all that one layer computes and its gradients, or the loss head where that takes more; without
it, some thirty times as much of each layer.

>>> size = ModelSize(parameters=4.0e9, hidden=2560, layers=36, vocabulary=151_936)
>>> def gigabytes(is_lora, num_ranks, acts_here=True):
...     return round(learning_bytes(size, is_lora=is_lora, tokens=65_536, is_checkpointing=True, dtype="bfloat16",
...                                 num_ranks=num_ranks, acts_here=acts_here) / 1e9)
>>> gigabytes(False, 1), gigabytes(True, 1), gigabytes(False, 2), gigabytes(False, 2, acts_here=False)
(92, 44, 76, 60)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.bounded_file import read_bounded
from turnmix.core.json_text import MOST_BYTES, json_value
from turnmix.training.learner_settings import LearnerSettings

FULL_BYTES, FROZEN_BYTES = 16, 4
LORA_SHARE = 0.01
ACTIVATIONS = 17
"""Numbers that a layer keeps for its backward pass, for each of a token's hidden size."""
TEMPORARIES = 46
"""Numbers that one layer's computation and backward pass hold at once, in the same measure. On a GPU 43 of
them were measured for Qwen3-4B."""
LABELED = 1.25
"""Rows of a tree over those of its path, where every action of the student has a label as long: a quarter of a coding
agent's tokens are actions."""
LOGIT_BYTES, HEAD_BYTES = 32, 5e9
"""What the loss head holds for one logit at most, and in one chunk on a card of 80 GB."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What an estimate needs to know of a model."""

    parameters: float
    hidden: int
    layers: int
    vocabulary: int
    cached: int = 2048
    """Numbers that one layer's cache keeps of a token: its keys and values."""
    context: int | None = None
    """Tokens that it reads at most."""


def size_of(name: str, configuration: Path | None) -> ModelSize | None:
    """By the model's configuration, else by its name; None: neither tells.

    >>> size_of("Qwen/Qwen3-Coder-30B-A3B-Instruct", None).parameters
    30000000000.0
    """
    if configuration is not None:
        try:
            return _configured(json_value(read_bounded(configuration, most=MOST_BYTES)))
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, AttributeError, OverflowError):
            pass
    if not (match := re.search(r"(\d+(?:\.\d+)?)[Bb](?![a-z])", name.rpartition("/")[2])):
        return None
    parameters = float(match[1]) * 1e9
    # Dense models of one to ten billion: width and depth grow with the cube root.
    return ModelSize(
        parameters=parameters,
        hidden=int(1600 * (parameters / 1e9) ** (1 / 3)),
        layers=36,
        vocabulary=151_936,
    )


def _configured(data: dict[str, Any]) -> ModelSize:
    hidden, layers = data["hidden_size"], data["num_hidden_layers"]
    head = data.get("head_dim") or hidden // data["num_attention_heads"]
    queries = data["num_attention_heads"] * head
    keys = data.get("num_key_value_heads", data["num_attention_heads"]) * head
    experts, width = (
        data.get("num_experts") or 1,
        data.get("moe_intermediate_size") or data["intermediate_size"],
    )
    layer = 2 * hidden * (queries + keys) + 3 * hidden * width * experts
    words = data["vocab_size"] * hidden * (1 if data.get("tie_word_embeddings") else 2)
    return ModelSize(
        parameters=float(layers * layer + words),
        hidden=hidden,
        layers=layers,
        vocabulary=data["vocab_size"],
        cached=2 * keys,
        context=data.get("max_position_embeddings"),
    )


def learning_bytes(
    size: ModelSize,
    *,
    is_lora: bool,
    tokens: int,
    is_checkpointing: bool,
    dtype: str,
    num_ranks: int = 1,
    acts_here: bool = True,
) -> float:
    """Of the first of `num_ranks` processes, each on its own card. `tokens`: of the largest pass; `dtype`: what it
    computes in; `acts_here`: no server acts for the student."""
    bytes_each = FROZEN_BYTES + LORA_SHARE * FULL_BYTES if is_lora else FULL_BYTES
    held = size.parameters * bytes_each / num_ranks
    acting = size.parameters * FROZEN_BYTES if num_ranks > 1 and acts_here else 0
    a_layer = 1 if is_checkpointing else ACTIVATIONS
    kept = tokens * size.hidden * size.layers * a_layer * BYTES[dtype]
    # Of the first to the last layer's backward pass nothing of the head is left.
    head = min(tokens * size.vocabulary * LOGIT_BYTES, HEAD_BYTES)
    return held + acting + kept + max(tokens * size.hidden * TEMPORARIES * BYTES[dtype], head)


def largest_pass(learner: LearnerSettings, *, conversation: int, has_labels: bool) -> int:
    """Rows of the largest pass that can come: the longest path is a `conversation` of that many tokens, and no budget
    makes a pass shorter. `has_labels`: labels hang below it, too."""
    path = conversation if learner.max_context is None else min(conversation, learner.max_context)
    return max(learner.tokens_per_pass, int(path * LABELED) if has_labels else path)


def cohort_bytes(size: ModelSize, *, rows: int, tokens: int, dtype: str) -> float:
    """Of the cache of a cohort that acts in this process: as many tokens for each of its rows as the longest has.

    >>> size = ModelSize(parameters=0.6e9, hidden=1024, layers=28, vocabulary=151_936)
    >>> round(cohort_bytes(size, rows=32, tokens=8192, dtype="float32") / 1e9)
    60
    """
    return rows * tokens * size.layers * size.cached * float(BYTES[dtype])


def serving_bytes(size: ModelSize, dtype: str) -> float:
    """Of a server: the weights and half as much again for its cache."""
    return 1.5 * size.parameters * BYTES.get(dtype, 2)
